import { type FileHandle, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { hasCode, Refusal } from "../../../errors.ts";
import { DigestChain } from "../../../formats/redolog/digest-chain.ts";
import { headerSize } from "../../../formats/redolog/header.ts";
import type { LogIdentity } from "../../../formats/redolog/position.ts";
import { moveDurably, readAt, renameDurably, syncData, writeAt } from "../../../services/files.ts";
import type { ZimbraPaths } from "../../../services/paths.ts";
import { extendChain } from "../../../services/redolog/extend-chain.ts";
import type { KeptLinks } from "../../../services/redolog/kept-links.ts";
import {
	headerDigest,
	type Provenance,
	type ProvenanceFile,
} from "../../../services/redolog/provenance.ts";

/** Where a log is received. */
export type Place = {
	readonly zimbra: ZimbraPaths;
	readonly provenance: ProvenanceFile;
};

type Parts = Place & {
	readonly identity: LogIdentity;
	readonly file: FileHandle;
	readonly inode: number;
	readonly chain: DigestChain;
	readonly kept: KeptLinks;
	readonly from: number;
};

/** Where a file of our own is prepared: not a name that Zimbra would take for one of its logs. */
const newLogName = ".live_sync.new";

/**
 * The mirror's redo.log while it is being received. What `flush` has returned for is on disk, and
 * the provenance record says so; what comes after it is nobody's promise.
 */
export class ReceivedLog implements AsyncDisposable {
	readonly #parts: Parts;
	/** headers that may stand in the file: the last one, and one that is just being written */
	#headers: Buffer[];
	#submitted: number;
	/** times that bytes which were there already began or ceased to be changed; odd in between */
	#changes = 0;
	/** links that are known to be kept; what was there before this file was opened may have holes */
	#keptLinks = 0;
	#flushed: number;
	#syncing: Promise<void> = Promise.resolve();

	private constructor(parts: Parts, header: Buffer) {
		this.#parts = parts;
		this.#headers = [header];
		this.#submitted = parts.chain.offset;
		this.#flushed = parts.chain.offset;
	}

	get identity(): LogIdentity {
		return this.#parts.identity;
	}

	/** Begins a new file; the one before it has been archived. */
	static async create(
		place: Place,
		identity: LogIdentity,
		header: Buffer,
		kept: KeptLinks,
	): Promise<ReceivedLog> {
		const { zimbra, provenance } = place;
		const chain = new DigestChain();
		// The record first: a redo.log without one would be taken for history of our own.
		await provenance.update(() => ({
			identity,
			from: 0,
			upTo: headerSize,
			digest: chain.digest().toString("hex"),
			headers: [headerDigest(header)],
			receiving: true,
		}));
		const path = join(zimbra.redolog, newLogName);
		// A new one: what a crash has left there, or whatever else it may be, is not written to.
		await rm(path, { force: true });
		const file = await open(path, "wx+", 0o640);
		try {
			await writeAt(file, 0, header);
			await file.sync();
			await renameDurably(path, zimbra.currentLog);
			const { ino: inode } = await file.stat();
			return new ReceivedLog({ ...place, identity, file, inode, chain, kept, from: 0 }, header);
		} catch (error) {
			await file.close();
			await rm(path, { force: true });
			throw error;
		}
	}

	/**
	 * Goes on with the file that is there.
	 * @param chain stands at its end, which is on disk
	 * @param from bytes before this offset came with the initial copy
	 */
	static async resume(
		place: Place,
		identity: LogIdentity,
		chain: DigestChain,
		from: number,
		kept: KeptLinks,
	): Promise<ReceivedLog> {
		const file = await open(place.zimbra.currentLog, "r+");
		try {
			await file.sync();
			const header = await readAt(file, 0, headerSize);
			const { ino: inode } = await file.stat();
			await place.provenance.update(() => ({
				identity,
				from,
				upTo: chain.offset,
				digest: chain.digest().toString("hex"),
				headers: [headerDigest(header)],
				receiving: true,
			}));
			return new ReceivedLog({ ...place, identity, file, inode, chain, kept, from }, header);
		} catch (error) {
			await file.close();
			throw error;
		}
	}

	/** Bytes written, on disk or not. */
	get written(): number {
		return this.#parts.chain.offset;
	}

	get flushed(): number {
		return this.#flushed;
	}

	async append(offset: number, bytes: Buffer): Promise<void> {
		if (offset !== this.written) {
			throw new Error(`the stream continues at ${offset}, redo.log ends at ${this.written}`);
		}
		this.#submitted = offset + bytes.length;
		try {
			await writeAt(this.#parts.file, offset, bytes);
		} catch (error) {
			// A full disk takes part of it: that part was neither counted nor promised.
			await this.#change(async () => {
				await this.#parts.file.truncate(offset);
				this.#submitted = offset;
			});
			throw error;
		}
		this.#parts.chain.update(bytes);
	}

	/**
	 * The live server has rewritten the header. When this returns it is on disk: the record has room for
	 * the one before it and this one, and a third that is still on its way would be somebody else's.
	 */
	async writeHeader(header: Buffer): Promise<void> {
		// A header that a mailboxd has written here must not be covered up.
		await this.checkUntouched();
		const before = this.#headers.at(-1) ?? header;
		this.#headers = [before, header];
		await this.#record({ headers: this.#headers.map(headerDigest) });
		await this.#change(async () => {
			await writeAt(this.#parts.file, 0, header);
			this.#headers = [header];
		});
		await this.#onDisk(() => syncData(this.#parts.file));
	}

	/**
	 * Makes what was written so far durable and gives the offset up to which it now is.
	 * A failed fsync is not repeated: the pages may be gone. The file is to be closed and looked at
	 * again from the last offset that was flushed.
	 */
	async flush(): Promise<number> {
		const upTo = this.written;
		const digest = this.#parts.chain.digest().toString("hex");
		await this.checkUntouched(upTo);
		await this.#onDisk(() => syncData(this.#parts.file));
		await this.#record({ upTo, digest });
		this.#flushed = upTo;
		await this.#parts.kept.write(this.#keptLinks, this.#parts.chain.links.slice(this.#keptLinks));
		this.#keptLinks = this.#parts.chain.links.length;
		return upTo;
	}

	/** The live server has cut the file; so do we, after the tail was saved by the caller. */
	async truncate(offset: number): Promise<void> {
		const { chain, file } = this.#parts;
		chain.rewind(offset);
		await extendChain(file, chain, offset, new AbortController().signal);
		if (chain.offset !== offset) throw new Error(`redo.log is shorter than ${offset} bytes`);
		this.#keptLinks = Math.min(this.#keptLinks, this.#parts.chain.links.length);
		// The claim is lowered first: a crash in between leaves a tail that claims nothing.
		await this.#record({ upTo: offset, digest: this.#parts.chain.digest().toString("hex") });
		this.#submitted = offset;
		await this.#parts.file.truncate(offset);
		await this.#onDisk(() => this.#parts.file.sync());
		this.#flushed = offset;
	}

	async readTail(offset: number): Promise<Buffer> {
		return await readAt(this.#parts.file, offset, Math.max(0, this.written - offset));
	}

	/**
	 * The digest of all bytes behind the header, read back from the file: an archive is what lies on
	 * this disk, not what once came over the link.
	 */
	async readDigest(): Promise<Buffer> {
		const chain = new DigestChain();
		await extendChain(this.#parts.file, chain, this.written, new AbortController().signal);
		return chain.digest();
	}

	/** Closes the file under its archive name; it is then the live server's archive, byte by byte. */
	async archive(name: string, header: Buffer): Promise<void> {
		await this.writeHeader(header);
		await this.flush();
		await renameDurably(this.#parts.zimbra.currentLog, join(this.#parts.zimbra.archive, name));
		await this.#record({ receiving: false });
		await this.#parts.file.close();
	}

	/** Takes the file out of the way; nothing of it counts any more. */
	async setAside(path: string): Promise<void> {
		await moveDurably(this.#parts.zimbra.currentLog, path);
		await this.#parts.file.close();
	}

	/** Ends receiving for now: everything is on disk, and nothing of ours comes behind it. */
	async rest(): Promise<void> {
		await this.flush();
		const { size } = await this.#parts.file.stat();
		if (size === this.written) await this.#record({ receiving: false });
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#parts.file.close().catch((error: unknown) => {
			if (!hasCode(error, "EBADF")) throw error;
		});
	}

	/**
	 * One fsync after the other, and none behind one that failed. Of two that are under way together the
	 * kernel tells only one of a failure, and one that is repeated succeeds with nothing on disk.
	 */
	async #onDisk(fsync: () => Promise<void>): Promise<void> {
		this.#syncing = this.#syncing.then(fsync);
		await this.#syncing;
	}

	async #change(work: () => Promise<void>): Promise<void> {
		this.#changes += 1;
		try {
			await work();
		} finally {
			this.#changes += 1;
		}
	}

	async #record(change: Partial<Provenance>): Promise<void> {
		await this.#parts.provenance.update((known) => {
			if (known === undefined) throw new Error("a log is received without a provenance record");
			return { ...known, from: Math.min(known.from, change.upTo ?? known.upTo), ...change };
		});
	}

	/**
	 * Throws a Refusal (log-altered) where redo.log is not as we wrote it.
	 * Nobody but us writes here while we receive. If somebody does, it is a mailboxd: the admin may
	 * just have made this server the live one, so nothing more is written.
	 */
	async checkUntouched(written = this.written): Promise<void> {
		const { zimbra, file } = this.#parts;
		const changes = this.#changes;
		const now = await stat(zimbra.currentLog).catch((error: unknown) => {
			if (hasCode(error, "ENOENT")) return undefined;
			throw error;
		});
		// From our own handle: where the inode is the same, this is the header of what lies there.
		const header = await readAt(file, 0, headerSize);
		if (
			now?.ino === this.#parts.inode &&
			now.size >= written &&
			now.size <= this.#submitted &&
			this.#headers.some((own) => header.equals(own))
		) {
			return;
		}
		// A look beside a change of our own may have seen what was there before it, or the half of it.
		if (changes % 2 === 1 || changes !== this.#changes) return await this.checkUntouched(written);
		throw new Refusal(
			"log-altered",
			`${zimbra.currentLog} is not as this mirror wrote it: Zimbra may have been started here, and two servers may be live`,
			"nothing more is written; if this server is to stay a mirror, stop Zimbra here and see docs/runbooks.md, divergence",
		);
	}
}
