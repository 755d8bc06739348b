/**
 * Every setting of live_sync.conf, in one place: the parser, the defaults and the reference in
 * docs/settings.md all come from this table.
 *
 * Values may name `{zimbra_home}` and `{base_dir}`; commands also `{action}` (start, stop, status).
 * A command is split into words at blanks, single quotes hold a word together, and it is started
 * without a shell.
 */

export type SettingType =
	| "address"
	| "choice"
	| "command"
	| "directory"
	| "duration"
	| "flag"
	| "list"
	| "number"
	| "path"
	| "size"
	| "text";

export type Setting = {
	readonly type: SettingType;
	/** as it would be written in the file; a setting without one must be given */
	readonly default?: string;
	/** what may be written, for type "choice" */
	readonly choices?: readonly string[];
	/** smallest and largest value, in the unit of the type (seconds, bytes, or the bare number) */
	readonly range?: readonly [number, number];
	readonly help: string;
};

export const settingsTable = {
	server1: {
		type: "address",
		help: "IPv4 or IPv6 address of one server. The order does not matter: which one is local is found from the machine's own addresses.",
	},
	server2: { type: "address", help: "Address of the other server." },
	local: {
		type: "choice",
		choices: ["auto", "server1", "server2"],
		default: "auto",
		help: "Which of the two this machine is; auto looks at its network addresses, and where these tell nothing takes what the last `start` found.",
	},
	zimbra_home: {
		type: "directory",
		default: "/opt/zimbra",
		help: "Where Zimbra is installed.",
	},
	user: {
		type: "text",
		default: "zimbra",
		help: "The system user that both programs must run as, and the mirror logs in as.",
	},
	ssh_port: {
		type: "number",
		range: [1, 65535],
		default: "22",
		help: "Port of the other server's sshd.",
	},
	ssh_key: {
		type: "path",
		default: "{zimbra_home}/.ssh/live_sync",
		help: "Private key with which the mirror logs in.",
	},
	path: {
		type: "list",
		default:
			"{zimbra_home}/bin:{zimbra_home}/libexec:{zimbra_home}/common/bin:{zimbra_home}/common/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
		help: "PATH for the commands that are run, parted by colons.",
	},
	ldap_command: {
		type: "command",
		default: "{zimbra_home}/bin/ldap {action}",
		help: "Starts, stops and tells the status of slapd.",
	},
	ldap_check_command: {
		type: "command",
		default: "{zimbra_home}/bin/zmprov -l gacf zimbraRedoLogEnabled",
		help: "Exits 0 only where LDAP answers a question.",
	},
	mysql_command: {
		type: "command",
		default: "{zimbra_home}/bin/mysql.server {action}",
		help: "Starts, stops and tells the status of the database.",
	},
	mysql_check_command: {
		type: "command",
		default: "{zimbra_home}/bin/mysqladmin ping",
		help: "Exits 0 only where the database answers.",
	},
	mysql_flush_command: {
		type: "command",
		default: "{zimbra_home}/bin/mysql -e 'FLUSH ENGINE LOGS'",
		help: "Makes what the database has committed durable.",
	},
	mailboxd_command: {
		type: "command",
		default: "{zimbra_home}/bin/zmmailboxdctl {action}",
		help: "Starts, stops and tells the status of mailboxd.",
	},
	zmplayredo_command: {
		type: "command",
		default: "{zimbra_home}/bin/zmplayredo",
		help: "Replays redo logs; its options are added.",
	},
	zmprov_command: {
		type: "command",
		default: "{zimbra_home}/bin/zmprov -l",
		help: "Reads accounts and settings from LDAP.",
	},
	zmcontrol_command: {
		type: "command",
		default: "{zimbra_home}/bin/zmcontrol",
		help: "Tells the version of Zimbra (-v).",
	},
	zmschedulebackup_command: {
		type: "command",
		default: "{zimbra_home}/bin/zmschedulebackup",
		help: "Tells the backup schedule (-q); only the Network Edition has it.",
	},
	connect_timeout: {
		type: "duration",
		range: [1, 300],
		default: "10s",
		help: "For connecting to the other server and its first answer.",
	},
	heartbeat_interval: {
		type: "duration",
		range: [0.1, 60],
		default: "1s",
		help: "How often each end of the stream says that it lives.",
	},
	link_timeout: {
		type: "duration",
		range: [0.5, 300],
		default: "5s",
		help: "Without a word from the other end for so long, the link counts as cut.",
	},
	reconnect_max: {
		type: "duration",
		range: [0.2, 3600],
		default: "5s",
		help: "Longest pause between two attempts to connect; the first is one second or this, whichever is less. A server that does not answer at all is tried every second. One that does not let the mirror in is tried every 30 s, or every `reconnect_max` where that is longer.",
	},
	lag_max: {
		type: "duration",
		range: [1, 604800],
		default: "15m",
		help: "A mirror that is further behind than this tells it in status and in the log; its message store may be replay_interval later.",
	},
	replay_interval: {
		type: "duration",
		range: [0.2, 86400],
		default: "60s",
		help: "How often new operations are replayed while the mirror runs.",
	},
	replay_share: {
		type: "number",
		range: [1, 100],
		default: "50",
		help: "Replay runs take at most this part of the time, in per cent; where a run is slow, runs become rarer.",
	},
	replay_settle: {
		type: "duration",
		range: [0, 60],
		default: "1s",
		help: "Bytes younger than this are not replayed while the mirror runs, so that the mirror is never ahead of what the live server has on disk.",
	},
	replay_timeout: {
		type: "duration",
		range: [1, 86400],
		default: "15m",
		help: "A replay run that makes no progress for so long is ended.",
	},
	replay_threads: {
		type: "number",
		range: [1, 200],
		default: "50",
		help: "Player threads of zmplayredo.",
	},
	replay_stop_on_error: {
		type: "flag",
		default: "no",
		help: "Run zmplayredo with --stopOnError.",
	},
	service_timeout: {
		type: "duration",
		range: [1, 7200],
		default: "5m",
		help: "For starting or stopping one of Zimbra's services.",
	},
	command_timeout: {
		type: "duration",
		range: [1, 3600],
		default: "60s",
		help: "For any other command.",
	},
	retention: {
		type: "duration",
		range: [0, 31_536_000],
		default: "48h",
		help: "Redo log archives younger than this are never removed.",
	},
	disk_floor: {
		type: "size",
		range: [0, 1e15],
		default: "1G",
		help: "Free space below which nothing large is begun. Below a tenth of it no more of the redo log is received.",
	},
	clock_offset_max: {
		type: "duration",
		range: [1, 86400],
		default: "30s",
		help: "With a larger difference between the clocks of the two servers, start refuses.",
	},
	ldap_quiet: {
		type: "duration",
		range: [0, 60],
		default: "500ms",
		help: "LDAP is copied when it has been unchanged for so long, or after ldap_interval.",
	},
	ldap_interval: {
		type: "duration",
		range: [0.1, 3600],
		default: "3s",
		help: "Shortest time from one LDAP copy to the next.",
	},
	ldap_share: {
		type: "number",
		range: [1, 100],
		default: "50",
		help: "LDAP copies take at most this part of the time, in per cent.",
	},
	ldap_poll: {
		type: "duration",
		range: [0.05, 60],
		default: "500ms",
		help: "How often the live server looks at LDAP's transaction ids.",
	},
	ldap_copy_timeout: {
		type: "duration",
		range: [1, 7200],
		default: "5m",
		help: "For the snapshot of one LDAP database on the live server.",
	},
	ldap_check_timeout: {
		type: "duration",
		range: [1, 7200],
		default: "15m",
		help: "For reading a whole copy of LDAP before it is used.",
	},
	log_format: {
		type: "choice",
		choices: ["lines", "json"],
		default: "lines",
		help: "Form of log/live_sync.log.",
	},
	log_level: {
		type: "choice",
		choices: ["debug", "info", "warn", "error"],
		default: "info",
		help: "What is logged.",
	},
	log_rotate: {
		type: "choice",
		choices: ["no", "daily"],
		default: "no",
		help: "Built-in rotation, for hosts without logrotate.",
	},
	log_keep: {
		type: "number",
		range: [1, 1000],
		default: "7",
		help: "How many rotated logs are kept by the built-in rotation.",
	},
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settingsTable;

/** What a value of each type is in the program: durations in ms, sizes in bytes. */
export type SettingValue<T extends SettingType> = T extends "duration" | "number" | "size"
	? number
	: T extends "flag"
		? boolean
		: T extends "command" | "list"
			? readonly string[]
			: string;

export type Settings = {
	readonly [N in SettingName]: (typeof settingsTable)[N] extends {
		type: "choice";
		choices: readonly (infer C)[];
	}
		? C
		: SettingValue<(typeof settingsTable)[N]["type"]>;
};
