import { renameSync, rmSync } from "node:fs";
import { connect, type Server, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";

/** Requests and answers as JSON lines with a number, so that answers may come in any order. */
export function answerLines(socket: Socket, answer: (request: unknown) => Promise<unknown>): void {
	socket.on("error", () => {});
	linesOf(socket).on("line", (line) => {
		const { number, request } = JSON.parse(line) as { number: number; request: unknown };
		answer(request).then(
			(result) => socket.write(`${JSON.stringify({ number, result })}\n`),
			(error: Error) => socket.write(`${JSON.stringify({ number, error: error.message })}\n`),
		);
	});
}

/** The socket's errors come out of the reader of its lines too. */
const linesOf = (socket: Socket): Interface =>
	createInterface({ input: socket }).on("error", () => {});

/** Listens at a path that exists only once connections are accepted. */
export function listenAt(server: Server, path: string): void {
	rmSync(path, { force: true });
	rmSync(`${path}.new`, { force: true });
	server.listen(`${path}.new`, () => renameSync(`${path}.new`, path));
}

/** The other end. Every question that has no answer when the connection ends is rejected. */
export class LineClient implements Disposable {
	readonly #socket: Socket;
	readonly #open = new Map<number, PromiseWithResolvers<unknown>>();
	#number = 0;
	#idleEnds = false;
	#lost: Error | undefined;

	private constructor(socket: Socket, name: string) {
		this.#socket = socket;
		linesOf(socket).on("line", (line) => this.#receive(line));
		socket.on("error", () => {});
		socket.on("close", () => {
			this.#lost = new Error(`${name} is gone`);
			for (const { reject } of this.#open.values()) reject(this.#lost);
			this.#open.clear();
		});
	}

	static connect(path: string, name: string): Promise<LineClient> {
		return new Promise((resolve, reject) => {
			const socket = connect(path);
			socket.once("error", reject);
			socket.once("connect", () => {
				socket.off("error", reject);
				resolve(new LineClient(socket, name));
			});
		});
	}

	ask(request: unknown): Promise<unknown> {
		if (this.#lost !== undefined) return Promise.reject(this.#lost);
		const waiting = Promise.withResolvers<unknown>();
		this.#open.set(++this.#number, waiting);
		this.#socket.ref();
		this.#socket.write(`${JSON.stringify({ number: this.#number, request })}\n`);
		return waiting.promise;
	}

	/** Lets the process end although the connection is open, as long as no answer is awaited. */
	unref(): void {
		this.#idleEnds = true;
		this.#rest();
	}

	[Symbol.dispose](): void {
		this.#socket.destroy();
	}

	#rest(): void {
		if (this.#idleEnds && this.#open.size === 0) this.#socket.unref();
	}

	#receive(line: string): void {
		const { number, result, error } = JSON.parse(line) as {
			number: number;
			result?: unknown;
			error?: string;
		};
		const waiting = this.#open.get(number);
		this.#open.delete(number);
		this.#rest();
		if (error === undefined) waiting?.resolve(result);
		else waiting?.reject(new Error(error));
	}
}
