import { connect, type Socket } from "node:net";
import { Trouble } from "../../errors.ts";

/** The address does not answer: no word of a server came from there. */
export class Unanswered extends Trouble {}

/** An ssh server answers there, and does not let us in. */
export class TurnedAway extends Trouble {}

/** How soon another SYN of our own is sent: the kernel's come after 1, 3, 7, 15 s. */
const againMs = 1000;

/**
 * A TCP connection. While the first try hangs, as it does where packets vanish, another one is made each
 * second, and whichever is through first counts: an address that answers again is reached at once.
 * Throws an {@link Unanswered}.
 */
export async function dial(
	host: string,
	port: number,
	timeoutMs: number,
	signal: AbortSignal,
): Promise<Socket> {
	signal.throwIfAborted();
	const { promise, resolve, reject } = Promise.withResolvers<Socket>();
	const tries = new Set<Socket>();
	const begin = () => {
		const socket = connect({ host, port });
		tries.add(socket);
		socket.once("connect", () => resolve(socket)).on("error", reject);
	};
	const abort = () => reject(signal.reason);
	signal.addEventListener("abort", abort, { once: true });
	const again = setInterval(begin, againMs);
	const late = setTimeout(
		() => reject(new Error(`nothing answered within ${timeoutMs / 1000} s (connect_timeout)`)),
		timeoutMs,
	);
	begin();
	let through: Socket | undefined;
	try {
		through = await promise;
		return through;
	} catch (error) {
		signal.throwIfAborted();
		throw new Unanswered(`no ssh connection to ${host} port ${port}`, undefined, { cause: error });
	} finally {
		clearInterval(again);
		clearTimeout(late);
		signal.removeEventListener("abort", abort);
		for (const socket of tries) if (socket !== through) socket.destroy();
	}
}
