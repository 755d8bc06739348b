import { mkdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { hasCode } from "../errors.ts";
import { readIfThere, writeDurably } from "./files.ts";
import type { Logger } from "./log/logger.ts";
import { isAlive, ownIdentity, type ProcessIdentity, parseIdentity } from "./processes.ts";

/**
 * The lock directory of the 2011 scripts: made with mkdir, removed with rmdir, so that it excludes
 * them too. Beside it stands who holds it, since when and for what; a lock whose holder is dead,
 * the processes it started included, is taken over.
 */
export type HeldLock = AsyncDisposable & {
	/** Names a process that must be gone too before anybody else may take this lock. */
	addChild(child: ProcessIdentity): Promise<void>;
	release(): Promise<void>;
};

export type LockOwner = {
	readonly process: ProcessIdentity;
	readonly children: readonly ProcessIdentity[];
	readonly purpose: string;
	/** ms since the epoch */
	readonly since: number;
};

export type LockOptions = {
	readonly purpose: string;
	readonly signal: AbortSignal;
	readonly log: Logger;
	/** Whether any loop lives: without one, a lock that names no owner is dead after a while. */
	readonly anyLoopLives: () => Promise<boolean>;
	/** ms; without it the wait ends only by the signal */
	readonly timeoutMs?: number;
};

const pollMs = 100;
/** Between mkdir and the owner record lie milliseconds; longer means that the maker died there. */
const ownerlessMs = 10_000;

const ownerFile = (lock: string): string => `${lock}.owner`;

/**
 * Waits for the lock and takes it.
 * Throws the signal's reason when it aborts, an Error that names the holder when the time is up.
 */
export async function takeLock(lock: string, options: LockOptions): Promise<HeldLock> {
	const deadline = performance.now() + (options.timeoutMs ?? Number.POSITIVE_INFINITY);
	while (!(await tryToMake(lock))) {
		options.signal.throwIfAborted();
		if (await takeOver(lock, options)) continue;
		if (performance.now() > deadline) {
			const owner = await readLockOwner(lock);
			const who =
				owner === undefined ? "unknown" : `process ${owner.process.pid} (${owner.purpose})`;
			throw new Error(`${lock} is held by ${who} for too long`);
		}
		await sleep(pollMs, undefined, { signal: options.signal });
	}
	let owner: LockOwner = {
		process: ownIdentity(),
		children: [],
		purpose: options.purpose,
		since: Date.now(),
	};
	try {
		await writeDurably(ownerFile(lock), JSON.stringify(owner));
	} catch (error) {
		await rmdir(lock);
		throw error;
	}
	let held = true;
	const release = async () => {
		if (!held) return;
		held = false;
		await rm(ownerFile(lock), { force: true });
		await rmdir(lock);
	};
	return {
		async addChild(child) {
			owner = { ...owner, children: [...owner.children.filter(isAlive), child] };
			await writeDurably(ownerFile(lock), JSON.stringify(owner));
		},
		release,
		[Symbol.asyncDispose]: release,
	};
}

/** Who holds the lock; undefined where nobody does or nothing is recorded. */
export async function readLockOwner(lock: string): Promise<LockOwner | undefined> {
	const text = await readIfThere(ownerFile(lock));
	if (text === undefined) return undefined;
	try {
		const { process, children, purpose, since } = JSON.parse(text);
		const holder = parseIdentity(process);
		if (holder === undefined || !Array.isArray(children)) return undefined;
		const started = children.map(parseIdentity).filter((child) => child !== undefined);
		return { process: holder, children: started, purpose: String(purpose), since: Number(since) };
	} catch {
		return undefined;
	}
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

/** Removes a dead holder's lock; true where the lock may be free now. */
async function takeOver(lock: string, options: LockOptions): Promise<boolean> {
	if (!(await isDead(lock, options))) return false;
	// Only one at a time, and what was read before counts for nothing: the holder may be new by now.
	const guard = `${lock}.takeover`;
	if (!(await tryToMake(guard))) {
		await removeAbandoned(guard);
		return false;
	}
	try {
		if (!(await isDead(lock, options))) return false;
		const owner = await readLockOwner(lock);
		const aside = `${lock}.dead.${process.pid}`;
		await rename(lock, aside);
		await rm(ownerFile(lock), { force: true });
		await rmdir(aside);
		options.log.warn(
			{ lock, holder: owner?.process.pid, purpose: owner?.purpose },
			"the lock's holder is dead, its lock was taken over",
		);
		return true;
	} catch (error) {
		if (hasCode(error, "ENOENT")) return true;
		throw error;
	} finally {
		await rmdir(guard);
	}
}

async function isDead(lock: string, { anyLoopLives }: LockOptions): Promise<boolean> {
	const owner = await readLockOwner(lock);
	if (owner !== undefined) return ![owner.process, ...owner.children].some(isAlive);
	const made = await madeAt(lock);
	return made !== undefined && Date.now() - made > ownerlessMs && !(await anyLoopLives());
}

async function removeAbandoned(guard: string): Promise<void> {
	const made = await madeAt(guard);
	if (made === undefined || Date.now() - made < ownerlessMs) return;
	await rmdir(guard).catch(() => undefined);
}

async function madeAt(directory: string): Promise<number | undefined> {
	try {
		return (await stat(directory)).mtimeMs;
	} catch (error) {
		if (hasCode(error, "ENOENT")) return undefined;
		throw error;
	}
}

/** Removes a lock whose holder was ended by us. */
export async function removeLock(lock: string): Promise<void> {
	await rm(ownerFile(lock), { force: true });
	await rmdir(lock).catch((error: unknown) => {
		if (!hasCode(error, "ENOENT")) throw error;
	});
}
