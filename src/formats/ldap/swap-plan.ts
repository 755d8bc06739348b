/**
 * How data/ldap is exchanged, and what is done about an exchange that was cut short.
 *
 *     install:   (previous → discarded)   current → previous   next → current
 *     rollback:  current → refused   previous → current   (discarded → previous)
 *
 * Each arrow is a rename of a whole directory, cn=config and all environments of one generation, so
 * at every instant each name is a whole generation or nothing. LDAP is stopped meanwhile.
 */
export type Generation = "current" | "next" | "previous" | "discarded" | "refused";
export type Rename = { readonly from: Generation; readonly to: Generation };

/** Which directories are there. */
export type Present = ReadonlySet<Generation>;

/** Written down durably before the first rename, and removed when LDAP answers. */
export type SwapJournal = { readonly phase: "install" | "rollback"; readonly snapshot: string };

export function planInstall(present: Present): Rename[] {
	return [
		...rename(present, "previous", "discarded"),
		...rename(present, "current", "previous"),
		{ from: "next", to: "current" },
	];
}

/**
 * The renames that lead from what a crash has left to one whole generation: `now` tells which. A
 * copy that did not come to its place is given up: the one before is as good, and the next is coming.
 */
export function planRepair(
	journal: SwapJournal | undefined,
	present: Present,
): { readonly renames: Rename[]; readonly now: "old" | "new" } {
	if (journal?.phase === "rollback") return { renames: planRollback(present), now: "old" };
	if (!present.has("current")) {
		// Between the two renames: `previous` was in use a moment ago.
		const back = rename(present, "previous", "current");
		return { renames: [...back, ...rename(present, "discarded", "previous")], now: "old" };
	}
	if (journal === undefined) return { renames: [], now: "old" };
	if (!present.has("next")) return { renames: [], now: "new" };
	const unneeded = present.has("previous") ? [] : rename(present, "discarded", "previous");
	return { renames: unneeded, now: "old" };
}

/** The same from every point of a rollback; `refused` is removed before its journal is written. */
export function planRollback(present: Present): Rename[] {
	const begun = present.has("refused");
	if (begun && present.has("current")) {
		return present.has("previous") ? [] : rename(present, "discarded", "previous");
	}
	return [
		...rename(present, "current", "refused"),
		...rename(present, "previous", "current"),
		...rename(present, "discarded", "previous"),
	];
}

const rename = (present: Present, from: Generation, to: Generation): Rename[] =>
	present.has(from) ? [{ from, to }] : [];
