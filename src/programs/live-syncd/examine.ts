import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, Refusal } from "../../errors.ts";
import {
	judgeHostName,
	judgeLogPlaces,
	judgeOwnRole,
	judgePeer,
	judgeRedoSettings,
	judgeServers,
} from "../../formats/guards.ts";
import type { ZimbraSettings } from "../../formats/protocol/zimbra-settings.ts";
import { isFollowing, type Role, unknownRole } from "../../formats/role.ts";
import type { LocalLog } from "../../loops/redo/receiver/local-log.ts";
import { findReplayed } from "../../loops/redo/replayer/position.ts";
import { deadline } from "../../services/clock.ts";
import { isThere } from "../../services/files.ts";
import { findPlaces } from "../../services/ldap/places.ts";
import { findScriptOf2011 } from "../../services/live-syncd-here.ts";
import type { Logger } from "../../services/log/logger.ts";
import { refuseOtherBase } from "../../services/one-base.ts";
import { ownAddresses, type PeerConfig } from "../../services/peer-config.ts";
import { listArchive, openLog } from "../../services/redolog/open-log.ts";
import { readRole } from "../../services/role.ts";
import { lackOfRoom } from "../../services/room.ts";
import { makeRun } from "../../services/run.ts";
import { readKey, readKnownHost } from "../../services/ssh/connect.ts";
import { demandWritable, tryDirectory } from "../../services/trial.ts";
import { makeMailboxd } from "../../services/zimbra/mailboxd.ts";
import { followName } from "../../services/zimbra/own-name.ts";
import { serverName } from "../../services/zimbra/servers.ts";
import { zimbraVersion } from "../../services/zimbra/version.ts";
import { checkHistory, type OwnHistory } from "./check-history.ts";
import type { LoopName } from "./loop.ts";
import { askHello, askSettings } from "./peer.ts";

/** Either server may have to read a redo log of 4 GiB first, from a slow disk. A silent link ends sooner. */
const historyMs = 30 * 60_000;

export type Examination = {
	readonly config: PeerConfig;
	readonly log: Logger;
	readonly signal: AbortSignal;
	/** those that are to be started */
	readonly loops: readonly LoopName[];
	readonly ownHistory: OwnHistory;
	/**
	 * Runs one guard. `start` ends with the first that throws; `start --check` keeps what was thrown, and
	 * goes on without a result.
	 */
	demand<T>(guard: () => Promise<T> | T): Promise<T | undefined>;
	/** What does not hinder a start, but should be known. */
	warn(message: string, hint?: string): void;
};

/** What was found out about this server, as far as it could be. */
export type Here = {
	readonly role: Role;
	/** of the redo log that came with the initial copy; undefined where there is none */
	readonly serverId: string | undefined;
	/** a mirror that has followed before goes on all the same */
	readonly lacksRoom: boolean;
};

/**
 * Everything that this machine can tell by itself. Asked before the network, so that whoever types `start`
 * on the live server, say, is told so with the other server dead or wrong.
 */
export async function examineHere(examination: Examination): Promise<Here> {
	const { config, loops, demand } = examination;
	const { base, localAddress, remoteAddress, settings, zimbra } = config;
	const redo = loops.includes("redo");
	if (redo) {
		await demand(() => refuseBesideScriptOf2011(config));
		await demand(() => refuseOtherBase(config));
	}
	const role = (await demand(() => readRole(base.role))) ?? unknownRole;
	const mailboxd = await makeMailboxd({ run: makeRun(settings), config }).process();
	await demand(() => {
		const running = mailboxd && `process ${mailboxd.pid}`;
		throwIf(judgeOwnRole(localAddress, remoteAddress, role, running));
	});
	await demand(() => readKnownHost(config));
	await demand(() => readKey(config));
	await examineName(examination);
	for (const file of [base.stopFile, base.pidRedo, base.lock]) {
		await demand(() => tryDirectory(dirname(file)));
	}
	// A redo log that a mailboxd writes is left alone.
	if (redo && mailboxd === undefined && (await isThere(zimbra.redolog))) {
		await examineRedolog(examination);
	}
	const serverId = redo ? await demand(() => localServerId(config)) : undefined;
	// Else it depends on what the live server has: check-history.ts.
	if (redo && isFollowing(role)) await demand(() => findReplayed(config, role.timeline));
	if (loops.includes("ldap") && (await isThere(dirname(zimbra.ldap)))) {
		await demand(() => examineLdapPlaces(config));
	}
	const lacksRoom = (redo && (await demand(() => examineRoom(examination, role)))) ?? false;
	return { role, serverId, lacksRoom };
}

/** What the other server has told. */
export type There = {
	readonly answered: boolean;
	/** of its redo log, which only an initial copy brings here; undefined where it has none */
	readonly serverId?: string | undefined;
	readonly local?: LocalLog | undefined;
};

/** What the other server says of itself, and whether its history contains ours. */
export async function examineThere(
	examination: Examination,
	{ role, serverId }: Here,
): Promise<There> {
	const { config, log, demand, ownHistory } = examination;
	const { settings, remoteAddress } = config;
	const late = deadline(
		2 * (settings.connect_timeout + settings.command_timeout),
		`${remoteAddress} did not answer all questions of start (connect_timeout, command_timeout)`,
	);
	const signal = AbortSignal.any([examination.signal, late]);
	const zimbra = await zimbraVersion(config);
	const askedAt = Date.now();
	const hello = await demand(() => askHello(config, signal));
	// Nothing else would be answered either.
	if (hello === undefined) return { answered: false };
	const facts = {
		peer: remoteAddress,
		zimbra,
		serverId,
		askedAt,
		answeredAt: Date.now(),
		clockOffsetMaxMs: settings.clock_offset_max,
	};
	for (const refusal of judgePeer(facts, hello)) await demand(() => throwIf(refusal));
	// The redo log would come all the same, but a standby needs LDAP, too.
	await demand(() => throwIf(hello.shell));
	const told = await demand(() => askSettings(config, signal));
	if (told !== undefined) {
		for (const refusal of judgeSettings(config, told)) await demand(() => throwIf(refusal));
	}
	const there = { answered: true, serverId: hello.redolog?.serverId };
	if (serverId === undefined) return there;
	const compared = deadline(
		historyMs,
		`the redo logs of this server and ${remoteAddress} could not be compared: a disk is too slow`,
	);
	const either = AbortSignal.any([examination.signal, compared]);
	const local = await demand(async () => {
		const found = await checkHistory(config, role, ownHistory, log, either);
		if (ownHistory === "look" && found !== undefined && !isFollowing(role)) {
			await findReplayed(config, found.identity.timeline);
		}
		return found;
	});
	return { ...there, local };
}

/** Both would write the same redo log. A look is repeated: a script that only ends is not in the way. */
async function refuseBesideScriptOf2011(config: PeerConfig): Promise<void> {
	const found = findScriptOf2011(config);
	if (found === undefined) return;
	await sleep(1000);
	if (findScriptOf2011(config) !== found) return;
	throw new Refusal(
		"both-mirrors",
		`the live_syncd script of 2011 runs on this server, process ${found}`,
		`end it with its own stop or kill, or: kill ${found}; then start again`,
	);
}

async function examineName({ config, demand, warn }: Examination): Promise<void> {
	const { localAddress, settings, zimbra } = config;
	const name = await serverName(config).catch(() => undefined);
	if (name === undefined) {
		warn(
			`${zimbra.localconfig} does not tell zimbra_server_hostname: whether that name leads to this machine is not known`,
			`see that it does: getent ahosts $(zmhostname) must print ${localAddress} alone`,
		);
		return;
	}
	await demand(async () => {
		const { all: own } = await ownAddresses();
		const lead = await followName(name, own, settings.command_timeout).catch(
			(error: unknown): never => {
				// A name server that is not there yet: no refusal, but nothing to rely on either.
				throw new Error(
					`whether ${name} (zimbra_server_hostname) leads to this machine is not known; write it into /etc/hosts: ${localAddress} ${name}`,
					{ cause: error },
				);
			},
		);
		throwIf(judgeHostName(name, localAddress, lead));
	});
}

/** Whether what is received can be written, made durable, and archived. */
async function examineRedolog({ config, demand, ownHistory }: Examination): Promise<void> {
	const { archive, currentLog, mirrorMarker, redolog } = config.zimbra;
	// `start` makes an archive that is missing; who only looks does not.
	const made = ownHistory !== "look" || (await isThere(archive));
	await demand(() => tryDirectory(redolog, made ? archive : redolog));
	for (const file of [currentLog, mirrorMarker]) await demand(() => demandWritable(file));
}

/** Whether a copy of LDAP can be made, and exchanged with data/ldap. */
async function examineLdapPlaces(config: PeerConfig): Promise<void> {
	await tryDirectory(config.base.ldap);
	const { current, staging } = await findPlaces(config).catch((error: unknown): never => {
		if (error instanceof Error && "syscall" in error) throw error;
		throw new Refusal(
			"two-file-systems",
			describe(error),
			"docs/ldap.md tells how LDAP is exchanged",
		);
	});
	await tryDirectory(dirname(current), dirname(staging));
	// To rename a directory into another one, its own entry for .. is written.
	await demandWritable(current);
}

/**
 * Refuses a new mirror on a disk that is all but full. One that has followed before goes on: the redo
 * log is received to the last byte, and a standby that stays down after a reboot is the greater harm.
 */
async function examineRoom({ config, warn }: Examination, { role }: Role): Promise<boolean> {
	const lack = await lackOfRoom(config);
	if (lack === undefined) return false;
	if (role !== "mirror") throw lack;
	warn(lack.message, lack.hint);
	return true;
}

/** The server id in whatever redo log is here: the current one, or the newest in the archive. */
async function localServerId({ zimbra }: PeerConfig): Promise<string> {
	const newest = (await listArchive(zimbra)).at(-1)?.name;
	const paths = [
		zimbra.currentLog,
		...(newest === undefined ? [] : [join(zimbra.archive, newest)]),
	];
	for (const path of paths) {
		const log = await openLog(path);
		if (log === undefined) continue;
		await log.file.close();
		return log.header.serverId;
	}
	throw new Refusal(
		"no-initial-copy",
		`there is no redo log in ${zimbra.redolog}: this server has no copy of the live one to go on from`,
		"make the initial copy with the live server stopped, redolog/ included: docs/runbooks.md, initial copy",
	);
}

const judgeSettings = (
	{ remoteAddress: peer, zimbra }: PeerConfig,
	settings: ZimbraSettings,
): Refusal[] =>
	[
		judgeServers(peer, settings),
		judgeRedoSettings(peer, settings.redo),
		judgeLogPlaces(peer, zimbra.home, settings.redo),
	].filter((each) => each !== undefined);

function throwIf(refusal: Refusal | undefined): void {
	if (refusal !== undefined) throw refusal;
}
