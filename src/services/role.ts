import { formatRole, parseRole, type Role, unknownRole } from "../formats/role.ts";
import { readIfThere, writeDurably } from "./files.ts";
import { isAlive, ownIdentity } from "./processes.ts";

/** The role that this server remembers; throws where the file is there but damaged. */
export async function readRole(path: string): Promise<Role> {
	const text = await readIfThere(path);
	if (text === undefined) return unknownRole;
	const role = parseRole(text);
	if (role !== undefined) return role;
	throw new Error(
		`${path} is damaged, so which history this server belongs to is not known: put back a copy of it; on a server that was never promoted, move it to another place`,
	);
}

export async function writeRole(path: string, role: Role): Promise<void> {
	await writeDurably(path, formatRole(role));
}

/** Says that this process is about to make the server a mirror. Durable when it returns. */
export async function announceIntent(path: string): Promise<void> {
	const role = await readRole(path);
	await writeRole(path, { ...role, intent: { process: ownIdentity(), at: Date.now() } });
}

/** Takes the intent back, whether `start` has come to its end or has given up. */
export async function withdrawIntent(path: string): Promise<void> {
	const { intent, ...role } = await readRole(path);
	if (intent !== undefined) await writeRole(path, role);
}

/** Whether somebody who lives intends to start here, other than this process. */
export const isIntended = ({ intent }: Role): boolean =>
	intent !== undefined && intent.process.pid !== process.pid && isAlive(intent.process);
