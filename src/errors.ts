/**
 * The kinds of failure, told apart by what happens next:
 * an aborted signal is a wish and quiet; an ordinary `Error` is tried again, with a delay;
 * a {@link Refusal} needs a person, and says what that person should do.
 */

/** Every refusal has a code of its own; docs/errors.md has a section of that name for each. */
export type RefusalCode =
	| "already-running"
	| "archive-gone"
	| "bad-config"
	| "bad-request"
	| "both-mirrors"
	| "clock-offset"
	| "deleting-rollover"
	| "disk-space"
	| "divergence"
	| "history-ends"
	| "host-key"
	| "host-name"
	| "is-live"
	| "key-refused"
	| "ldap-config"
	| "ldap-password-drift"
	| "ldap-path"
	| "log-altered"
	| "log-version"
	| "mailboxd-up"
	| "mirror-in-use"
	| "no-initial-copy"
	| "no-ssh-key"
	| "noisy-shell"
	| "not-a-file"
	| "not-configured"
	| "not-writable"
	| "old-agent"
	| "other-base"
	| "peer-not-live"
	| "position-lost"
	| "redolog-elsewhere"
	| "replay-stopped"
	| "server-id"
	| "several-servers"
	| "too-many-mirrors"
	| "two-file-systems"
	| "unclean-copy"
	| "wrong-user"
	| "zimbra-version";

/** A condition that does not mend itself. `hint` is a command to run or a page to read. */
export class Refusal extends Error {
	override readonly name = "Refusal";
	readonly code: RefusalCode;
	readonly hint: string;

	constructor(code: RefusalCode, message: string, hint: string, options?: ErrorOptions) {
		super(message, options);
		this.code = code;
		this.hint = hint;
	}
}

/** Tried again, as any other `Error`; `hint` is what a person can do meanwhile, if there is anything. */
export class Trouble extends Error {
	readonly hint: string | undefined;

	constructor(message: string, hint?: string, options?: ErrorOptions) {
		super(message, options);
		this.hint = hint;
	}
}

/** The message of anything that was thrown, with the messages of its causes behind it. */
export function describe(error: unknown): string {
	if (!(error instanceof Error)) return String(error);
	const cause = error.cause === undefined ? "" : `: ${describe(error.cause)}`;
	return `${error.message}${cause}`;
}

/** A command to run or a page to read, of an error that has one; and where the disk is what does not let us. */
export function hintOf(error: unknown): string | undefined {
	if (error instanceof Refusal || error instanceof Trouble) return error.hint;
	if (hasCode(error, "ENOSPC", "EDQUOT")) {
		return "make room on that disk, and nothing is lost: docs/runbooks.md, disk full";
	}
	if (hasCode(error, "EROFS", "EIO")) {
		return "look for errors of that disk in the kernel log: dmesg; when it can be written again, nothing is lost";
	}
	return error instanceof Error && error.cause !== undefined ? hintOf(error.cause) : undefined;
}

/** Whether a failed system call failed with one of these codes (`ENOENT`, …). */
export function hasCode(error: unknown, ...codes: string[]): boolean {
	return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
