import { connect, createServer, type Server, type Socket } from "node:net";

export type Direction = "toServer" | "toClient";

type Link = { readonly client: Socket; readonly server: Socket; passed: Record<Direction, number> };
type Cut = { readonly direction: Direction; left: number };

/**
 * A TCP connection that can go wrong, between the mirror and the live server's sshd. It lives in the
 * test's own process. What it does holds for open and for later connections, until {@link heal}.
 */
export class TcpProxy implements AsyncDisposable {
	/** bytes that have passed since the beginning */
	readonly passed: Record<Direction, number> = { toServer: 0, toClient: 0 };
	/** connections that were ever accepted */
	connections = 0;
	readonly #target: { host: string; port: number };
	readonly #links = new Set<Link>();
	readonly #stalled = new Set<Direction>();
	#server: Server;
	#refusing = false;
	#cut: Cut | undefined;
	#bytesPerSecond = Infinity;

	private constructor(target: { host: string; port: number }) {
		this.#target = target;
		this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
	}

	static async listen(host: string, target: { host: string; port: number }): Promise<TcpProxy> {
		const proxy = new TcpProxy(target);
		await new Promise<void>((resolve, reject) => {
			proxy.#server.once("error", reject);
			proxy.#server.listen(0, host, resolve);
		});
		proxy.#server.unref();
		return proxy;
	}

	get port(): number {
		const address = this.#server.address();
		return typeof address === "object" ? (address?.port ?? 0) : 0;
	}

	get openConnections(): number {
		return this.#links.size;
	}

	/** Ends every open connection with a reset. New ones are let through. */
	cut(): void {
		for (const link of this.#links) this.#reset(link);
	}

	/** Cuts all connections when so many more bytes have passed in a direction; once. */
	cutAfter(bytes: number, direction: Direction): void {
		this.#cut = { direction, left: bytes };
	}

	/** Cuts, and accepts nobody until {@link heal}: a host that is down. */
	refuse(): void {
		this.#refusing = true;
		this.cut();
	}

	/** Nothing passes in one direction, and nobody is told. */
	stall(direction: Direction): void {
		this.#stalled.add(direction);
		this.#arrange();
	}

	/** Nothing passes at all; new connections are taken, and get no answer. */
	blackHole(): void {
		this.#stalled.add("toServer").add("toClient");
		this.#arrange();
	}

	/** For every connection by itself, in each direction. */
	limit(bytesPerSecond: number): void {
		this.#bytesPerSecond = bytesPerSecond;
	}

	/** Everything passes again, on connections that are still open too. */
	heal(): void {
		this.#refusing = false;
		this.#stalled.clear();
		this.#cut = undefined;
		this.#bytesPerSecond = Infinity;
		this.#arrange();
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.cut();
		await new Promise((resolve) => this.#server.close(resolve));
	}

	#accept(client: Socket): void {
		this.connections++;
		if (this.#refusing) {
			reset(client);
			return;
		}
		const server = connect({ ...this.#target, allowHalfOpen: true });
		const link: Link = { client, server, passed: { toServer: 0, toClient: 0 } };
		this.#links.add(link);
		this.#pump(link, client, server, "toServer");
		this.#pump(link, server, client, "toClient");
		for (const socket of [client, server]) {
			socket.unref();
			socket.setNoDelay(true);
			socket.on("error", () => this.#reset(link));
			socket.on("close", () => {
				if (client.destroyed && server.destroyed) this.#links.delete(link);
			});
		}
		this.#arrange();
	}

	#pump(link: Link, from: Socket, to: Socket, direction: Direction): void {
		from.on("data", (bytes: Buffer) => {
			const { allowed, cutting } = this.#pass(bytes.length, direction);
			link.passed[direction] += allowed;
			this.passed[direction] += allowed;
			const written = allowed === 0 || to.write(bytes.subarray(0, allowed));
			if (cutting) {
				// What was let through must arrive, or the place of the cut would not be the one asked for.
				to.write("", () => this.cut());
				return;
			}
			const pause = (bytes.length / this.#bytesPerSecond) * 1000;
			if (written && pause < 1) return;
			from.pause();
			const resume = () => {
				if (!this.#stalled.has(direction)) from.resume();
			};
			if (written) setTimeout(resume, pause).unref();
			else to.once("drain", resume);
		});
		from.on("end", () => to.end());
	}

	#pass(bytes: number, direction: Direction): { allowed: number; cutting: boolean } {
		if (this.#cut?.direction !== direction) return { allowed: bytes, cutting: false };
		const allowed = Math.min(bytes, this.#cut.left);
		this.#cut.left -= allowed;
		if (this.#cut.left > 0) return { allowed, cutting: false };
		this.#cut = undefined;
		return { allowed, cutting: true };
	}

	#arrange(): void {
		for (const { client, server } of this.#links) {
			if (this.#stalled.has("toServer")) client.pause();
			else client.resume();
			if (this.#stalled.has("toClient")) server.pause();
			else server.resume();
		}
	}

	#reset(link: Link): void {
		reset(link.client);
		reset(link.server);
		this.#links.delete(link);
	}
}

/**
 * Ends a connection without a farewell. One that is just saying its farewell cannot be reset: Node then has
 * an EINVAL, never closes the handle, and waits for it for ever, at full speed, when the process is to end
 * (seen with 26.10).
 */
export function reset(socket: Socket): void {
	if (socket.writableEnded && !socket.writableFinished) socket.destroy();
	else socket.resetAndDestroy();
}
