import { promises } from "node:fs";
import { join } from "node:path";
import { Refusal } from "../errors.ts";
import { isRecord, parseJson } from "../formats/json.ts";
import type { Config } from "./config.ts";
import { readIfThere, writeDurably, writeWhole } from "./files.ts";
import { isAlive, ownIdentity, type ProcessIdentity, parseIdentity } from "./processes.ts";

/**
 * Lock, pid files and the replayed position lie in the base directory, and know nothing of a second one.
 * So each loop says in redolog/, which both would write, to which base directory it belongs.
 */
type Claim = { readonly base: string; readonly process: ProcessIdentity };

const prefix = ".live_sync.loop.";

/**
 * Claims this Zimbra for our base directory, for as long as this process lives or until it is disposed.
 * It first says so and then looks, so that of two that begin at once at least one sees the other.
 * Throws a {@link Refusal} (other-base) where loops of another base directory live.
 */
export async function claimZimbra(config: Config): Promise<AsyncDisposable> {
	const file = join(config.zimbra.redolog, `${prefix}${process.pid}`);
	const remove = () => promises.rm(file, { force: true }).catch(() => undefined);
	const claim: Claim = { base: await ownBase(config), process: ownIdentity() };
	// On a full disk there may be no room for it; receiving and replaying count more.
	await writeWhole(file, JSON.stringify(claim)).catch(remove);
	try {
		await refuseOtherBase(config);
	} catch (error) {
		await remove();
		throw error;
	}
	return { [Symbol.asyncDispose]: remove };
}

/** Throws a {@link Refusal} (other-base) where loops of another base directory live on this Zimbra. */
export async function refuseOtherBase(config: Config): Promise<void> {
	const own = await ownBase(config);
	for (const { base, process } of await livingClaims(config)) {
		if (base === own) continue;
		throw new Refusal(
			"other-base",
			`live-syncd of another base directory, ${base}, runs on ${config.zimbra.home}: process ${process.pid}`,
			`go on with that one: live-syncd --config ${base}/live_sync.conf status; or end it: live-syncd --config ${base}/live_sync.conf stop`,
		);
	}
}

/** Names our base directory as the one whose replayed position counts. Best effort, as {@link claimZimbra}. */
export async function recordBase(config: Config): Promise<void> {
	const file = lastBaseFile(config);
	const own = await ownBase(config);
	const known = await readIfThere(file).catch(() => undefined);
	if (known !== own) await writeDurably(file, own).catch(() => undefined);
}

/** The base directory that has replayed here last, where it is not ours. */
export async function otherLastBase(config: Config): Promise<string | undefined> {
	const known = await readIfThere(lastBaseFile(config));
	return known === (await ownBase(config)) ? undefined : known;
}

const lastBaseFile = ({ zimbra }: Config): string => join(zimbra.redolog, ".live_sync.base");

const ownBase = ({ base }: Config): Promise<string> => promises.realpath(base.base);

/** What the living have claimed; what the dead have left is removed. */
async function livingClaims({ zimbra }: Config): Promise<Claim[]> {
	// A disk that cannot be read tells of nobody; whoever needs it meets the same error.
	const names = await promises.readdir(zimbra.redolog).catch(() => []);
	const claims: Claim[] = [];
	for (const name of names.filter((each) => each.startsWith(prefix))) {
		const file = join(zimbra.redolog, name);
		const claim = parseClaim(await readIfThere(file));
		// Who is writing it just now looks afterwards.
		if (claim === undefined) continue;
		if (isAlive(claim.process)) claims.push(claim);
		else await promises.rm(file, { force: true }).catch(() => undefined);
	}
	return claims;
}

function parseClaim(text: string | undefined): Claim | undefined {
	const value = parseJson(text ?? "");
	if (!isRecord(value) || typeof value.base !== "string") return undefined;
	const process = parseIdentity(value.process);
	return process && { base: value.base, process };
}
