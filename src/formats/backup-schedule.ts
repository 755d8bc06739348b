/**
 * Whether incremental backups of the Network Edition are scheduled, from what its tools print. Kinds of
 * backup are f, i and d, each followed by the five fields of cron. Source: the administration guide,
 * Backup and Restore; zm-build, rpmconf/Env/crontabs/crontab.
 */

/** `zmschedulebackup -q`: a line that begins with the kind. The script of 2011 took any word ending in i. */
export const schedulesIncremental = (output: string): boolean =>
	/^[ \t]*i(?:[ \t]+[0-9*][0-9*,/-]*){5}(?=\s|$)/m.test(output);

/** `crontab -l` of the zimbra user, where the schedule is kept. */
export const cronHasIncremental = (crontab: string): boolean =>
	/^[ \t]*[^#\s].*\bzmbackup[ \t](?:.*[ \t])?-i\b/m.test(crontab);
