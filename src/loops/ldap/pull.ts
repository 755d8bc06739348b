import { rm } from "node:fs/promises";
import { uncleanShell } from "../../formats/protocol/answers.ts";
import type { Config } from "../../services/config.ts";
import { makeDirectory } from "../../services/files.ts";
import type { PeerConfig } from "../../services/peer-config.ts";
import { lackBelowFloor } from "../../services/room.ts";
import { describeResult, type Run } from "../../services/run.ts";
import { askedOf } from "../../services/ssh/connect.ts";
import { regularly } from "../regularly.ts";

export type Transfer = { readonly bytesReceived: number; readonly bytesSent: number };

export type PullOptions = {
	readonly config: PeerConfig;
	readonly run: Run;
	readonly signal: AbortSignal;
	/** a directory on the live server */
	readonly from: string;
	/** here; what is in it already is only sent as far as it differs */
	readonly to: string;
	/** what of it, below `from`: all else is left there, and goes here */
	readonly parts: readonly PullPart[];
	/** what is in `to` beside the parts stays there */
	readonly keepRest?: boolean;
	/** the live directory itself; or a snapshot, whose pages are where they were in the one before */
	readonly method:
		| { readonly kind: "files" }
		| { readonly kind: "snapshot"; readonly blockSize: number };
};

/** A directory with all that is in it, or with its LDIF files, or alone; or an environment of LMDB. */
export type PullPart = {
	readonly path: string;
	readonly what: "all" | "ldif" | "environment" | "empty";
};

/** What belongs to the other host's run of slapd; see staysHere() for the same on the live side. */
const never = ["lock.mdb", "*.pid", "alock", "__db.*", ".live_sync*", "lost+found"];

/** rsync's rules, of which the first that fits decides. */
function filterRules(parts: readonly PullPart[]): string[] {
	const wanted = parts.flatMap(({ path, what }) => {
		const name = path.replaceAll(/[\\*?[]/g, "\\$&");
		const steps = name.split("/");
		const above = steps.map((_, index) => `/${steps.slice(0, index + 1).join("/")}/`);
		const inside = {
			all: [`/${name}/**`],
			ldif: [`/${name}/**/`, `/${name}/**.ldif`],
			environment: [`/${name}/data.mdb`],
			empty: [],
		}[what];
		return [...above, ...inside];
	});
	return [
		...never.map((pattern) => `--exclude=${pattern}`),
		...new Set(wanted.map((pattern) => `--include=${pattern}`)),
		"--exclude=*",
	];
}

const roomMs = 2000;
/** The heartbeat ends a pull over a dead link; this is for an rsync that hangs on its own. */
const longestMs = 24 * 3600_000;

/**
 * Pulls a directory with rsync over ssh. Our known_hosts alone decides about the host key, and
 * nothing of the user's own ssh configuration has a part in it.
 */
export async function pull(options: PullOptions): Promise<Transfer> {
	const { config, run, signal, from, to, method } = options;
	await makeDirectory(to);
	const command = rsyncCommand(options);
	using full = watchRoom(config, to);
	const either = AbortSignal.any([signal, full.signal]);
	const result = await run(command, { timeoutMs: longestMs, signal: either });
	if (signal.aborted) throw signal.reason;
	if (full.signal.aborted) {
		await rm(to, { recursive: true, force: true });
		throw full.signal.reason;
	}
	if (result.exitCode !== 0) {
		// 22: staging may be what confuses it, 12 and 30 are the link. The next try begins with what
		// is there, except where it may be unusable.
		if (result.exitCode === 22) await rm(to, { recursive: true, force: true });
		const unclean = uncleanShell(askedOf(config), result.stderr);
		if (unclean !== undefined) throw unclean;
		const what = method.kind === "snapshot" ? "the LDAP snapshot" : "LDAP";
		throw new Error(
			`${what} could not be fetched from ${config.remoteAddress}:${from} into ${to}: ${describeResult(command, result)}`,
		);
	}
	return {
		bytesReceived: statistic(result.stdout, "received"),
		bytesSent: statistic(result.stdout, "sent"),
	};
}

/** Nothing else bounds what the live server's rsync sends. Looks at the free space now and then. */
function watchRoom(config: Config, to: string): Disposable & { readonly signal: AbortSignal } {
	const full = new AbortController();
	const done = new AbortController();
	regularly(roomMs, done.signal, async () => {
		const lack = await lackBelowFloor(config, to);
		if (lack !== undefined) full.abort(lack);
	}).catch(() => undefined);
	return { signal: full.signal, [Symbol.dispose]: () => done.abort() };
}

function rsyncCommand({ config, from, to, parts, keepRest, method }: PullOptions): string[] {
	const { settings, remoteAddress } = config;
	const host = remoteAddress.includes(":") ? `[${remoteAddress}]` : remoteAddress;
	// A live data.mdb has holes for 80 GiB; --inplace with --sparse needs rsync 3.1.3.
	const shape =
		method.kind === "files"
			? ["--sparse"]
			: ["--no-whole-file", "--inplace", `-B${method.blockSize}`];
	return [
		"rsync",
		"-rptgoz",
		// The live server's words decide about neither whose rights a file runs with nor who may write it.
		"--chmod=u+rw,go-w,u-s,g-s,-t,Du+x,F-x",
		// A file that is written through a memory map does not always get a new time.
		"-I",
		...shape,
		...(keepRest === true ? [] : ["--delete", "--delete-excluded"]),
		"--stats",
		...filterRules(parts),
		`--timeout=${Math.ceil(settings.command_timeout / 1000)}`,
		"-e",
		sshCommand(config),
		`${settings.user}@${host}:${from}/`,
		`${to}/`,
	];
}

function sshCommand({ base, settings }: Config): string {
	const { connect_timeout, heartbeat_interval, link_timeout } = settings;
	const options = {
		UserKnownHostsFile: `"${base.knownHosts}"`,
		GlobalKnownHostsFile: "/dev/null",
		StrictHostKeyChecking: "yes",
		BatchMode: "yes",
		IdentitiesOnly: "yes",
		ConnectTimeout: Math.ceil(connect_timeout / 1000),
		ServerAliveInterval: Math.ceil(heartbeat_interval / 1000),
		ServerAliveCountMax: Math.max(3, Math.ceil(link_timeout / heartbeat_interval)),
	};
	const words = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
	const all = ["ssh", "-F", "none", "-i", settings.ssh_key, "-p", settings.ssh_port, ...words];
	// rsync splits this at blanks and knows single quotes.
	return all.map((word) => (/[\s"]/.test(String(word)) ? `'${word}'` : word)).join(" ");
}

function statistic(text: string, which: "sent" | "received"): number {
	const match = new RegExp(`^Total bytes ${which}: ([\\d,.]+)`, "m").exec(text);
	return Number(match?.[1]?.replaceAll(/\D/g, "") ?? Number.NaN);
}
