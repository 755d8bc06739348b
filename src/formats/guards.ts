import { Refusal } from "../errors.ts";
import type { Hello } from "./protocol/hello.ts";
import { protocolVersion } from "./protocol/hello.ts";
import type { RedoSettings, ZimbraSettings } from "./protocol/zimbra-settings.ts";
import type { Role } from "./role.ts";

/** What is known of this server before it may become a mirror. */
export type LocalFacts = {
	readonly peer: string;
	readonly zimbra: string | undefined;
	/** from the header of the local redo log; undefined where there is no initial copy yet */
	readonly serverId: string | undefined;
	/** ms since the epoch, just before and just after the peer was asked for its clock */
	readonly askedAt: number;
	readonly answeredAt: number;
	readonly clockOffsetMaxMs: number;
};

/**
 * Whether this server is the live one, as far as this machine tells: the other one need not be asked, and
 * may say what it likes.
 * @param mailboxd how mailboxd is seen to run here; undefined where it does not
 */
export function judgeOwnRole(
	address: string,
	peer: string,
	role: Role,
	mailboxd: string | undefined,
): Refusal | undefined {
	if (role.role === "live") {
		return new Refusal(
			"is-live",
			`this server, ${address}, is the live one since ${new Date(role.since).toISOString()}`,
			"a live server is not overwritten; docs/runbooks.md, failback, tells how roles change",
		);
	}
	if (mailboxd === undefined) return undefined;
	// Told to start Zimbra on the other server, somebody on the live one would have two live ones.
	return new Refusal(
		"is-live",
		`mailboxd runs here (${mailboxd}): this server serves mail, and only one that does not can follow ${peer}`,
		`if this server is the live one, type live-syncd start on ${peer}, the mirror; if ${peer} is the live one, stop Zimbra here: zmcontrol stop, docs/runbooks.md, split brain`,
	);
}

/** What forbids this server to follow that peer, in the order of harm: what could cost mail comes first. */
export function judgePeer(local: LocalFacts, peer: Hello): Refusal[] {
	if (peer.protocol !== protocolVersion) {
		// What the rest of its answer means is not known.
		return [
			new Refusal(
				"old-agent",
				`${local.peer} speaks protocol ${peer.protocol} (sync-commands ${peer.program}), this server ${protocolVersion}`,
				"install the same version of live-syncd on both servers",
			),
		];
	}
	const found: Refusal[] = [];
	if (peer.liveSyncd !== "stopped") {
		found.push(
			new Refusal(
				"both-mirrors",
				`${local.peer} runs live-syncd itself (${peer.liveSyncd}): live-syncd runs on one of the two servers only`,
				`decide which server is to be live; on the live one: live-syncd stop`,
			),
		);
	}
	if (peer.mailboxd !== "running") {
		const state = peer.mailboxd === "stopped" ? "does not run" : "is in an unknown state";
		found.push(
			new Refusal(
				"peer-not-live",
				`mailboxd ${state} on ${local.peer}: it is not the live server`,
				`if ${local.peer} is to be live, start Zimbra there first: zmcontrol start`,
			),
		);
	} else if (peer.redolog === undefined) {
		found.push(
			new Refusal(
				"peer-not-live",
				`${local.peer} has no redo log that can be read`,
				`on ${local.peer}: zmprov gacf zimbraRedoLogEnabled must be TRUE, and Zimbra must run`,
			),
		);
	}
	const { serverId } = local;
	if (peer.redolog !== undefined && serverId !== undefined && peer.redolog.serverId !== serverId) {
		found.push(
			new Refusal(
				"server-id",
				`the redo log here is of server ${serverId}, the one of ${local.peer} is of ${peer.redolog.serverId}`,
				"these two servers are no copies of each other; a mirror begins with an initial copy: docs/runbooks.md, initial copy",
			),
		);
	}
	const otherVersion = judgeVersions(local.peer, peer.zimbra, local.zimbra);
	if (otherVersion !== undefined) found.push(otherVersion);
	// The peer's clock was read somewhere in between: a slow answer must not look like a wrong clock.
	const offsetMs = Math.max(local.askedAt - peer.clock, peer.clock - local.answeredAt, 0);
	if (offsetMs > local.clockOffsetMaxMs) {
		found.push(
			new Refusal(
				"clock-offset",
				`the clock of ${local.peer} is at least ${(offsetMs / 1000).toFixed(1)} s off from the one here`,
				"set both clocks (NTP), or raise clock_offset_max in live_sync.conf",
			),
		);
	}
	return found;
}

/**
 * The name under which Zimbra's programs here look for LDAP and for themselves. Where it leads to the
 * live server, they take the LDAP of that one for their own, and change it.
 * @param lead what the name leads to, and which of these addresses are not this machine's
 */
export function judgeHostName(
	name: string,
	address: string,
	lead: { readonly addresses: readonly string[]; readonly foreign: readonly string[] },
): Refusal | undefined {
	const where =
		lead.addresses.length === 0
			? "leads to no address"
			: `leads to ${lead.foreign.join(" and ")}, not to this machine`;
	if (lead.addresses.length > 0 && lead.foreign.length === 0) return undefined;
	return new Refusal(
		"host-name",
		`${name}, the name of this Zimbra (zimbra_server_hostname), ${where}: Zimbra's programs here would talk to another server's LDAP, or to none`,
		`in /etc/hosts of this machine, in place of every other line with that name: ${address} ${name}; then getent ahosts ${name} must print ${address} alone`,
	);
}

/** Redo log settings with which a mirror cannot be kept. */
export function judgeRedoSettings(peer: string, settings: RedoSettings): Refusal | undefined {
	if (settings.enabled === false) {
		return new Refusal(
			"deleting-rollover",
			`redo logging is off on ${peer}`,
			`on ${peer}: zmprov mcf zimbraRedoLogEnabled TRUE; zmmailboxdctl restart`,
		);
	}
	if (settings.deleteOnRollover === true) {
		return new Refusal(
			"deleting-rollover",
			`${peer} deletes its redo log at each rollover, so a mirror that was away could not catch up`,
			`on ${peer}: zmprov mcf zimbraRedoLogDeleteOnRollover FALSE; zmmailboxdctl restart`,
		);
	}
	return undefined;
}

/** What `zmcontrol -v` says on each; a version that is not known forbids nothing. */
export function judgeVersions(
	peer: string,
	there: string | undefined,
	here: string | undefined,
): Refusal | undefined {
	if (there === undefined || here === undefined || there === here) return undefined;
	const differ = differingParts(there, here);
	return new Refusal(
		"zimbra-version",
		`Zimbra of ${peer} and of this server differ: ${differ.join("; ")}; ${peer} has "${there}", this server has "${here}"`,
		"both servers need the same release, platform, edition and patch of Zimbra. Where the live server was upgraded, make the mirror anew (docs/runbooks.md, initial copy): an installer of Zimbra would start Zimbra on it",
	);
}

/**
 * What of two versions is not the same. `zmcontrol -v` prints
 * `Release 8.8.15.GA.3869.UBUNTU18.64 UBUNTU18_64 FOSS edition, Patch 8.8.15_P45`.
 */
function differingParts(there: string, here: string): string[] {
	const partsOf = (version: string) => {
		const match =
			/^Release ([\d.]+(?:[A-Z]+\d*\.\d+)?)\S*(?: (\S+))?? (\S+) edition(?:, Patch (\S+))?$/i.exec(
				version,
			);
		if (match === null) return undefined;
		const [, release, platform = "none", edition, patch = "none"] = match;
		return { release, platform, edition, patch };
	};
	const [theirs, ours] = [partsOf(there), partsOf(here)];
	if (theirs === undefined || ours === undefined) return ["the version"];
	const parts = (["release", "platform", "edition", "patch"] as const).flatMap((part) =>
		theirs[part] === ours[part]
			? []
			: [`the ${part}, ${theirs[part]} there and ${ours[part]} here`],
	);
	return parts.length > 0 ? parts : ["the build"];
}

/**
 * A redo log that Zimbra keeps elsewhere is not followed, and what lies where it is looked for may be
 * an old one.
 * @param home zimbra_home, the same on both servers
 */
export function judgeLogPlaces(
	peer: string,
	home: string,
	{ logPath, archiveDirectory }: RedoSettings,
): Refusal | undefined {
	const places = [
		["zimbraRedoLogLogPath", logPath, "redolog/redo.log"],
		["zimbraRedoLogArchiveDir", archiveDirectory, "redolog/archive"],
	] as const;
	for (const [attribute, place, shipped] of places) {
		if (place === undefined) continue;
		const plain = place.replace(/\/+$/, "");
		if (plain === shipped || plain === `${home}/${shipped}`) continue;
		return new Refusal(
			"redolog-elsewhere",
			`${peer} has ${attribute} ${place}; live-syncd follows the redo log in ${home}/redolog only`,
			`on ${peer}: zmprov mcf ${attribute} ${shipped} (ms SERVER instead of mcf if it is set for the server), and with Zimbra stopped bring the files to ${home}/${shipped}, where those of before must not be overwritten; docs/errors.md has a section redolog-elsewhere`,
		);
	}
	return undefined;
}

/** A mirror of one server is no mirror of an installation of several. */
export function judgeServers(
	peer: string,
	{ ownName, otherStores }: Pick<ZimbraSettings, "ownName" | "otherStores">,
): Refusal | undefined {
	const [first] = otherStores;
	if (first === undefined) return undefined;
	const named = otherStores.map(({ name, services }) => `${name} (${services.join(", ")})`);
	const alone = "live-syncd mirrors installations of one mailbox server with its LDAP";
	if (ownName === undefined) {
		return new Refusal(
			"several-servers",
			`LDAP of ${peer} has ${named.join("; ")}, and which of them is ${peer} itself is not known`,
			`${alone}; if that is one: zimbra_server_hostname in localconfig.xml of ${peer} must be the name that LDAP has (zmhostname, zmprov gas), and the same version of live-syncd must be on both servers`,
		);
	}
	// The names are of the other side, and stand beside a command that somebody may type.
	const areNames = [first.name, ownName].every((name) => /^\w[\w.-]{0,254}$/.test(name));
	const gone = areNames
		? `; only if ${first.name} is a server that exists no more, and is not ${ownName} itself: zmprov ds ${first.name}`
		: "";
	return new Refusal(
		"several-servers",
		`${peer} (${ownName}) belongs to an installation of several servers; beside it there is ${named.join("; ")}`,
		`${alone}${gone}; docs/errors.md has a section several-servers`,
	);
}

/** A directory that a mirror writes to, and its file system. */
export type Room = {
	readonly directory: string;
	/** the same for directories that share their free space */
	readonly fileSystem: number;
	readonly freeBytes: number;
	/** what will be written there at once: a copy of LDAP */
	readonly neededBytes: number;
};

/** Refuses the first file system where less than the floor is free, or would be. */
export function judgeRoom(rooms: readonly Room[], floorBytes: number): Refusal | undefined {
	for (const { directory, fileSystem, freeBytes } of rooms) {
		const sharing = rooms.filter((room) => room.fileSystem === fileSystem);
		const needed = sharing.reduce((sum, room) => sum + room.neededBytes, 0);
		if (freeBytes - needed >= floorBytes) continue;
		const copy = needed === 0 ? "" : `, a copy of LDAP takes ${mebibytes(needed)} MiB`;
		return new Refusal(
			"disk-space",
			`${directory}: ${mebibytes(freeBytes)} MiB free${copy} and ${mebibytes(floorBytes)} MiB must stay (disk_floor)`,
			"make room there, docs/runbooks.md, disk full; or set a lower disk_floor in live_sync.conf",
		);
	}
	return undefined;
}

export const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20);
