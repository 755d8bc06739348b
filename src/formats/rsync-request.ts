/**
 * Which rsync command lines are served: the read-only server side of a pull, from directories that
 * are named in full. Everything is refused that is not known to be harmless, since the command line
 * comes from the other host. What rsync clients send was looked up in its options.c, server_options(),
 * at 2.6.8 (that of the 2011 page's CentOS 5), 3.1.3 and 3.5.0:
 *
 *     rsync --server --sender -lHogDtprze.iLsfxCIvu [--timeout=60 …] . /opt/zimbra/redolog/
 *
 * Left out on purpose: no `--sender` (that is a push), `s` (options and paths then come on standard
 * input), `L`, `k` and the --copy-links family (they follow symlinks out of the tree), `R`, `f`,
 * `--files-from`, `--log-file` and `--backup-dir` (they write), `--remove-source-files` (it deletes
 * here), `--daemon`, `--config`, `--copy-devices`, `--debug`.
 *
 * What a command line cannot prevent: filter rules come on rsync's own connection, and one of them may
 * name any file that this user can read, as a list of further rules. Nothing of it is sent, but an rsync
 * before 3.5.0 quotes the line that it does not understand in its error message. Source: exclude.c; that
 * 3.5.0 does not was tried.
 */
export type RsyncParsed =
	/** the words to run rsync with, without its name */
	| { readonly words: readonly string[]; readonly refused?: never }
	| { readonly refused: string; readonly words?: never };

/**
 * Letters of options: what -a, -H, -z, -S, -c, -I, -W and -v make of themselves. Behind `e.` stand the
 * abilities of the client, letters too.
 */
const letters = /^-[lHogDtprzScIWv]{1,24}(?:e\.[A-Za-z]{0,24})?$/;

const harmless = [
	/^--(?:inplace|numeric-ids|new-compress|old-compress)$/,
	/^--compress-choice=(?:zstd|lz4|zlibx?)$/,
	/^--compress-level=-?\d{1,3}$/,
	/^--(?:timeout|bwlimit|block-size)=\d{1,9}$/,
	/^-B\d{1,9}$/,
];
const maxOptions = 12;

/**
 * Judges the words of a command that begins with `rsync`.
 * @param directories that may be read, absolute, each with a slash at its end
 */
export function parseRsync(
	[program, server, sender, bundle = "", ...rest]: readonly string[],
	directories: readonly string[],
): RsyncParsed {
	if (program !== "rsync" || server !== "--server" || sender !== "--sender") {
		return { refused: "only the reading side of rsync is served (rsync --server --sender)" };
	}
	if (!letters.test(bundle)) return { refused: `the rsync options ${bundle} are not served` };
	const options = rest.slice(0, -2);
	const [dot, directory = ""] = rest.slice(-2);
	const bad = options.find((option) => !harmless.some((known) => known.test(option)));
	if (bad !== undefined) return { refused: `the rsync option ${bad} is not served` };
	if (options.length > maxOptions) return { refused: "too many rsync options" };
	if (dot !== "." || !directories.includes(directory)) {
		return {
			refused: `only one whole directory is served, one of ${directories.join(", ")}; asked for: ${rest.slice(options.length).join(" ")}`,
		};
	}
	return { words: ["--server", "--sender", bundle, ...options, ".", directory] };
}
