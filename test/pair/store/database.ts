import { LineClient } from "../services/line-protocol.ts";
import type { Write } from "./tables.ts";

/** A client of the simulated database. */
export class Database {
	readonly #client: LineClient;

	private constructor(client: LineClient) {
		this.#client = client;
	}

	static async connect(socketPath: string): Promise<Database> {
		return new Database(await LineClient.connect(socketPath, "mysql"));
	}

	get<V>(table: string, key: string): Promise<V | null> {
		return this.#client.ask({ get: [table, key] }) as Promise<V | null>;
	}

	scan<V>(table: string): Promise<[string, V][]> {
		return this.#client.ask({ scan: table }) as Promise<[string, V][]>;
	}

	tables(prefix: string): Promise<string[]> {
		return this.#client.ask({ tables: prefix }) as Promise<string[]>;
	}

	/** @param journal the line in executions.tsv that tells of it */
	async commit(writes: readonly Write[], journal = ""): Promise<void> {
		await this.#client.ask({ commit: writes, journal });
	}

	/** FLUSH ENGINE LOGS */
	async flush(): Promise<void> {
		await this.#client.ask({ flush: true });
	}

	/** SET GLOBAL innodb_flush_log_at_timeout, in seconds */
	async flushEvery(seconds: number): Promise<void> {
		await this.#client.ask({ flushEvery: seconds });
	}

	async ping(): Promise<void> {
		await this.#client.ask({ ping: true });
	}

	[Symbol.dispose](): void {
		this.#client[Symbol.dispose]();
	}
}
