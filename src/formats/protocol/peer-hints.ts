/**
 * What a person can do about a refusal of the other server, by its code. The words come from here and
 * never from there: an admin types what stands behind `try:`.
 */
const hints: ReadonlyMap<string, string> = new Map([
	[
		"archive-gone",
		"put the missing logs back into redolog/archive of the live server, or make a new initial copy: docs/runbooks.md, gap",
	],
	["bad-config", "mend live_sync.conf on that server; docs/settings.md has every setting"],
	["disk-space", "make room on that server: docs/runbooks.md, disk full"],
	["divergence", "nothing was changed; docs/runbooks.md, divergence"],
	[
		"history-ends",
		"the redo log of the live server began anew, or it is not the server that this mirror followed: docs/runbooks.md, divergence",
	],
	["not-configured", "write live_sync.conf on that server, the same as here: README.md"],
	[
		"too-many-mirrors",
		"on that server, drop the mirrors that are no more: its `live-syncd status` lists them, `live-syncd forget ADDRESS` drops one",
	],
	[
		"wrong-user",
		"on that server, authorized_keys of the user that live_sync.conf names must hold the key: README.md",
	],
]);

export const peerHint = (code: string | undefined): string =>
	hints.get(code ?? "") ??
	"look into log/sync_commands.log on that server, and install the same version of live-syncd on both; docs/errors.md tells of each code";
