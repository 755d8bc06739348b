import { Refusal, type RefusalCode } from "../../errors.ts";

/** EX_CONFIG of sysexits(3): what is wrong stays wrong until a person has acted. */
const needsPerson = 78;

/**
 * Refusals that may end by themselves, above all where both servers boot at the same time. All others
 * need a decision or a repair, and to try again would say the same for ever.
 */
const mayPass: ReadonlySet<RefusalCode> = new Set([
	// Its Zimbra is still on its way up.
	"peer-not-live",
	// sshd lets nobody in while a host boots (pam_nologin), and a home directory may not be mounted yet.
	"key-refused",
	// NTP has not set both clocks yet.
	"clock-offset",
	// A name server that is not reached yet answers nothing, or another one answers for it.
	"host-name",
	// Its directory is restarted, moved, or busy.
	"ldap-path",
	// Room is made by others, too.
	"disk-space",
	// Somebody types start or stop on the other server just now, and a script of 2011 may be about to end.
	"both-mirrors",
]);

/** What the foreground ends with, so that systemd knows whether to start it again. */
export const unitExitCode = (error: unknown): number =>
	error instanceof Refusal && !mayPass.has(error.code) ? needsPerson : 1;
