/** Counts the entries of an LDIF that comes in pieces: lines that begin with `dn:` (RFC 2849). */
export class EntryCounter {
	#entries = 0;
	#tail = "\n";

	get entries(): number {
		return this.#entries;
	}

	take(text: string): void {
		const all = this.#tail + text;
		for (let at = all.indexOf("\ndn:"); at >= 0; at = all.indexOf("\ndn:", at + 4)) {
			this.#entries += 1;
		}
		// Too short to hold a whole mark, so none is counted twice.
		this.#tail = all.slice(-3);
	}
}
