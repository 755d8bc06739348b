import { mkdir, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hasCode } from "../errors.ts";
import { failPoint } from "./fail-point.ts";
import { readIfThere, writeWhole } from "./files.ts";
import type { Logger } from "./log/logger.ts";
import { processesRunning } from "./process-table.ts";
import {
	isAlive,
	justStartedMs,
	ownIdentity,
	type ProcessIdentity,
	parseIdentity,
} from "./processes.ts";

/**
 * The lock directory of the 2011 scripts: made with mkdir, removed with rmdir. Beside it stands who
 * holds it, since when and for what; a lock whose holder is dead, the processes it started included,
 * is taken over.
 *
 * A holder may die between any two system calls, and a lock of which nobody knows the holder would
 * stop both loops for ever. So there is a record of the maker at every instant: a claim is written
 * before mkdir and renamed to the owner record after it; on release the owner record becomes a claim
 * again before rmdir, and goes last.
 */
export type HeldLock = AsyncDisposable & {
	/**
	 * To be awaited before a command is started: a holder that dies in the moment of the start leaves a
	 * child that {@link addChild} has not named, and it is looked for by the words of the command.
	 */
	announceChild(command: readonly string[] | undefined): Promise<void>;
	/** Names a process that must be gone too before anybody else may take this lock. */
	addChild(child: ProcessIdentity): Promise<void>;
	release(): Promise<void>;
};

export type LockOwner = {
	readonly process: ProcessIdentity;
	readonly children: readonly ProcessIdentity[];
	/** the command of a child that was about to be started and has no name yet */
	readonly announced?: readonly string[] | undefined;
	readonly purpose: string;
	/** ms since the epoch */
	readonly since: number;
};

export type LockOptions = {
	readonly purpose: string;
	readonly signal: AbortSignal;
	readonly log: Logger;
	/** ms; without it the wait ends only by the signal */
	readonly timeoutMs?: number;
	/** told once, when the wait has become long, with who holds the lock in words */
	readonly onLongWait?: { readonly afterMs: number; tell(holder: string): void };
	/** awaited when the holder is dead, and what it has started is not: somebody must see to its end */
	readonly onOrphans?: () => Promise<void>;
};

const pollMs = 100;
const longWaitMs = 30_000;
/** A lock without any record was made by something else: the scripts of 2011, or by hand. */
const unrecordedMs = 10_000;

const ownerFile = (lock: string): string => `${lock}.owner`;
const claimPrefix = (lock: string): string => `${lock}.claim.`;

let claims = 0;

/**
 * Waits for the lock and takes it.
 * Throws the signal's reason when it aborts, an Error that names the holder when the time is up.
 */
export async function takeLock(lock: string, options: LockOptions): Promise<HeldLock> {
	const claim = `${claimPrefix(lock)}${process.pid}.${++claims}`;
	let owner = await waitForLock(lock, claim, options);
	let held = true;
	const release = async () => {
		if (!held) return;
		held = false;
		await rename(ownerFile(lock), claim);
		failPoint(`${basename(lock)}:before-removal`);
		await rmdir(lock);
		await rm(claim, { force: true });
	};
	const record = async (changed: LockOwner) => {
		owner = changed;
		const next = `${ownerFile(lock)}.${process.pid}.tmp`;
		await writeWhole(next, JSON.stringify(owner));
		await rename(next, ownerFile(lock));
	};
	return {
		announceChild: (announced) => record({ ...owner, announced }),
		addChild: (child) =>
			record({
				...owner,
				children: [...owner.children.filter(isAlive), child],
				announced: undefined,
			}),
		release,
		[Symbol.asyncDispose]: release,
	};
}

async function waitForLock(lock: string, claim: string, options: LockOptions): Promise<LockOwner> {
	const { signal, log, timeoutMs = Number.POSITIVE_INFINITY, onLongWait } = options;
	const tellAfterMs = onLongWait?.afterMs ?? longWaitMs;
	const began = performance.now();
	const judge = new Judge(lock);
	let told = false;
	for (;;) {
		signal.throwIfAborted();
		const owner = await tryToTake(lock, claim, options.purpose);
		if (owner !== undefined) return owner;
		const removal = await takeOver(lock, judge);
		if (removal.removed) {
			const { process: holder, purpose } = removal.owner ?? {};
			log.warn(
				{ lock, holder: holder?.pid, purpose },
				"the lock's holder is dead, its lock was taken over",
			);
			continue;
		}
		if (options.onOrphans !== undefined && (await leftOrphans(lock))) await options.onOrphans();
		const waited = performance.now() - began;
		if (waited > timeoutMs) {
			throw new Error(`${lock} is held by ${await nameHolder(lock)} for too long`);
		}
		if (waited > tellAfterMs && !told) {
			told = true;
			const holder = await nameHolder(lock);
			log.warn({ lock, holder, purpose: options.purpose }, "waiting long for the lock");
			onLongWait?.tell(holder);
		}
		await sleep(pollMs, undefined, { signal }).catch(() => signal.throwIfAborted());
	}
}

async function leftOrphans(lock: string): Promise<boolean> {
	const owner = await readLockOwner(lock);
	return owner !== undefined && !isAlive(owner.process) && livingChildren(owner).length > 0;
}

/** What a holder has started and still runs; where the holder is dead, also what it had no time to name. */
export function livingChildren({ process, children, announced }: LockOwner): ProcessIdentity[] {
	const named = children.filter(isAlive);
	if (announced === undefined || isAlive(process)) return named;
	const unnamed = processesRunning(announced).filter(
		({ pid, startTime }) =>
			startTime >= process.startTime && !named.some((child) => child.pid === pid),
	);
	return [...named, ...unnamed];
}

/** One attempt; undefined where somebody has the lock. */
async function tryToTake(
	lock: string,
	claim: string,
	purpose: string,
): Promise<LockOwner | undefined> {
	if ((await mark(lock)) !== undefined) return undefined;
	const owner = { process: ownIdentity(), children: [], purpose, since: Date.now() };
	try {
		await writeWhole(claim, JSON.stringify(owner));
		if (!(await tryToMake(lock))) {
			await rm(claim, { force: true });
			return undefined;
		}
	} catch (error) {
		await rm(claim, { force: true });
		throw error;
	}
	failPoint(`${basename(lock)}:made`);
	try {
		await rename(claim, ownerFile(lock));
	} catch (error) {
		await rmdir(lock);
		await rm(claim, { force: true });
		throw error;
	}
	return owner;
}

/** Who holds the lock; undefined where nobody does or nothing is recorded. */
export async function readLockOwner(lock: string): Promise<LockOwner | undefined> {
	return parseOwner(await readIfThere(ownerFile(lock)));
}

/** Removes a lock whose holder was ended by us; one that somebody living holds stays. */
export async function removeLock(lock: string): Promise<void> {
	await takeOver(lock, new Judge(lock, 0));
}

/** Tells whether nobody can hold a lock any more. */
class Judge {
	readonly #lock: string;
	readonly #unrecordedMs: number;
	#unrecorded = { mark: "", since: 0 };

	/** @param patienceMs how long a lock without any record is left alone */
	constructor(lock: string, patienceMs = unrecordedMs) {
		this.#lock = lock;
		this.#unrecordedMs = patienceMs;
	}

	async isDead(): Promise<boolean> {
		const seen = await mark(this.#lock);
		if (seen === undefined) return false;
		// The same lock with the same owner record before and after: its maker's claim, if that is what
		// there is of him, stood there all the time.
		const text = await readIfThere(ownerFile(this.#lock));
		const claimed = await claimsOf(this.#lock);
		const same = text === (await readIfThere(ownerFile(this.#lock)));
		if (!same || (await mark(this.#lock)) !== seen) return false;
		if (claimed.some(({ alive }) => alive)) return false;
		const owner = parseOwner(text);
		if (owner !== undefined) return !lives(owner);
		// It is whole before it gets its name: a loss of power has torn it, and its writer is as gone.
		if (text !== undefined) return true;
		return claimed.length > 0 || this.#longUnrecorded(seen);
	}

	#longUnrecorded(seen: string): boolean {
		const now = performance.now();
		if (this.#unrecorded.mark !== seen) this.#unrecorded = { mark: seen, since: now };
		return now - this.#unrecorded.since >= this.#unrecordedMs;
	}
}

type Removal = { readonly removed: boolean; readonly owner?: LockOwner | undefined };

/** Removes a dead holder's lock; `removed` where the lock may be free now. */
async function takeOver(lock: string, judge: Judge): Promise<Removal> {
	if (!(await judge.isDead())) return { removed: false };
	// Only one at a time, and what was read before counts for nothing: the holder may be new by now.
	const guard = `${lock}.takeover`;
	if (!(await tryToMake(guard))) {
		await removeAbandoned(guard);
		return { removed: false };
	}
	try {
		// What was announced may be starting just now, and does not bear its name yet.
		if ((await readLockOwner(lock))?.announced !== undefined) await sleep(justStartedMs);
		if (!(await judge.isDead())) return { removed: false };
		const owner = await readLockOwner(lock);
		// The record goes first, or it would be the next holder's that is removed.
		const record = `${claimPrefix(lock)}${owner?.process.pid ?? 0}.dead`;
		await rename(ownerFile(lock), record).catch(unlessMissing);
		failPoint(`${basename(lock)}:before-takeover`);
		await rmdir(lock);
		for (const { file, alive } of await claimsOf(lock)) if (!alive) await rm(file, { force: true });
		return { removed: true, owner };
	} catch (error) {
		if (hasCode(error, "ENOENT")) return { removed: true };
		throw error;
	} finally {
		await rmdir(guard);
	}
}

/** A takeover takes milliseconds; its guard is left behind only by one that was killed over it. */
async function removeAbandoned(guard: string): Promise<void> {
	if (!(await isFresh(guard))) await rmdir(guard).catch(unlessMissing);
}

async function claimsOf(lock: string): Promise<{ file: string; alive: boolean }[]> {
	const prefix = basename(claimPrefix(lock));
	const names = (await readdir(dirname(lock))).filter((name) => name.startsWith(prefix));
	return await Promise.all(
		names.map(async (name) => {
			const file = join(dirname(lock), name);
			const owner = parseOwner(await readIfThere(file));
			return { file, alive: owner === undefined ? await isFresh(file) : lives(owner) };
		}),
	);
}

/** Made within the last seconds: whoever made it may be about to go on. */
async function isFresh(file: string): Promise<boolean> {
	const found = await stat(file).catch(unlessMissing);
	return found !== undefined && Math.abs(Date.now() - found.mtimeMs) < unrecordedMs;
}

function parseOwner(text: string | undefined): LockOwner | undefined {
	if (text === undefined) return undefined;
	try {
		const { process, children, announced, purpose, since } = JSON.parse(text);
		const holder = parseIdentity(process);
		if (holder === undefined || !Array.isArray(children)) return undefined;
		return {
			process: holder,
			children: children.map(parseIdentity).filter((child) => child !== undefined),
			announced: Array.isArray(announced) ? announced.map(String) : undefined,
			purpose: String(purpose),
			since: Number(since),
		};
	} catch {
		return undefined;
	}
}

const lives = (owner: LockOwner): boolean =>
	isAlive(owner.process) || livingChildren(owner).length > 0;

async function nameHolder(lock: string): Promise<string> {
	const owner = await readLockOwner(lock);
	return owner === undefined ? "unknown" : `process ${owner.process.pid} (${owner.purpose})`;
}

/** What tells a lock from a later one of the same name; undefined where there is none. */
async function mark(directory: string): Promise<string | undefined> {
	const found = await stat(directory, { bigint: true }).catch(unlessMissing);
	return found && `${found.ino}.${found.birthtimeNs}`;
}

async function tryToMake(directory: string): Promise<boolean> {
	try {
		await mkdir(directory);
		return true;
	} catch (error) {
		if (hasCode(error, "EEXIST")) return false;
		throw error;
	}
}

function unlessMissing(error: unknown): undefined {
	if (!hasCode(error, "ENOENT")) throw error;
}
