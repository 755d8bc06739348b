import { join } from "node:path";

/** Where everything of ours lies below the base directory: the names of the 2011 scripts, and ours. */
export function basePaths(base: string) {
	return {
		base,
		config: join(base, "live_sync.conf"),
		knownHosts: join(base, "known_hosts"),
		log: join(base, "log/live_sync.log"),
		lock: join(base, "lock/live_sync.lock"),
		/** `start` or `stop` is at work */
		commandLock: join(base, "lock/command.lock"),
		pidRedo: join(base, "pid/redo_log_live_sync.pid"),
		pidLdap: join(base, "pid/ldap_live_sync.pid"),
		stopFile: join(base, "status/live_sync.stop"),
		/** published by each loop, read by `status` and by the other loop */
		stateRedo: join(base, "status/redo.json"),
		stateLdap: join(base, "status/ldap.json"),
		role: join(base, "status/role.json"),
		/** what zmcontrol said about this server's Zimbra */
		zimbraVersion: join(base, "status/zimbra-version.json"),
		/** the replayed position: written only when a replay run is known to have ended */
		replayed: join(base, "status/replayed.json"),
		replayRun: join(base, "status/replay-run.json"),
		slices: join(base, "status/slices"),
		failed: join(base, "status/failed"),
		/** received and not replayed when Zimbra was started here without `stop` */
		unreplayed: join(base, "status/unreplayed"),
		aside: join(base, "status/aside"),
		/** on the live side: what each mirror has replayed, for retention */
		mirrors: join(base, "status/mirrors"),
		/** the address by which the live server knows this mirror */
		knownAs: join(base, "status/known-as"),
		/** on the live side: what sync-commands serves now, a file for each session */
		sessions: join(base, "status/sessions"),
		served: join(base, "log/sync_commands.log"),
		/** staging of LDAP copies on the mirror; snapshots on the live side */
		ldap: join(base, "ldap"),
		/** on the live side: the one copy that a mirror may pull */
		ldapSnapshot: join(base, "ldap/snapshot"),
	} as const;
}

export type BasePaths = ReturnType<typeof basePaths>;

/** The parts of a Zimbra installation that we read or write. */
export function zimbraPaths(home: string) {
	return {
		home,
		redolog: join(home, "redolog"),
		currentLog: join(home, "redolog/redo.log"),
		archive: join(home, "redolog/archive"),
		/** tells that redo.log has bytes from a live server; written before the first of them */
		mirrorMarker: join(home, "redolog/.live_sync"),
		backup: join(home, "backup"),
		ldap: join(home, "data/ldap"),
		store: join(home, "store"),
		database: join(home, "db/data"),
		localconfig: join(home, "conf/localconfig.xml"),
		mailboxLog: join(home, "log/mailbox.log"),
		replayPidFile: join(home, "log/zmplayredo.pid"),
		backupQuery: join(home, "bin/zmbackupquery"),
	} as const;
}

export type ZimbraPaths = ReturnType<typeof zimbraPaths>;
