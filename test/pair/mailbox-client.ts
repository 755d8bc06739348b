import { existsSync } from "node:fs";
import { join } from "node:path";
import { op } from "./redo/layouts.ts";
import type { CrashPoint } from "./services/crash-points.ts";
import { LineClient } from "./services/line-protocol.ts";
import type { Committed, DeliverRequest, MailboxRequest } from "./services/requests.ts";
import { itemType } from "./store/mailbox-rows.ts";

/** An operation that a client got an answer for: it must never be lost. */
export type Acknowledged = Committed & {
	/** ms since the epoch, when the answer had come */
	readonly at: number;
	readonly host: "a" | "b";
};

/** A transaction whose change record is logged, and that has not ended. */
export type OpenTransaction = {
	commit(): Promise<Committed[]>;
	abort(): Promise<Committed[]>;
};

/** What clients do with the mail server of one host. Each promise resolves when mailboxd has answered. */
export class MailboxClient {
	/** everything that was answered, in order of the answers, aborts aside */
	readonly acknowledged: Acknowledged[] = [];
	readonly #socket: string;
	readonly #host: "a" | "b";
	#connection: Promise<LineClient> | undefined;
	#holds = 0;

	constructor(hostDirectory: string, host: "a" | "b") {
		this.#socket = join(hostDirectory, "run/mailboxd.sock");
		this.#host = host;
	}

	/** The messages that one mail became, and what came before them (new mailboxes, the shared blob). */
	deliver(mail: DeliverRequest): Promise<Committed[]> {
		return this.#change({ do: "deliver", ...mail }) as Promise<Committed[]>;
	}

	/** A delivery that stays open after its change record is on disk, over rollovers if need be. */
	async begin(mail: DeliverRequest): Promise<OpenTransaction> {
		const hold = `hold-${++this.#holds}`;
		const delivered = this.deliver({ ...mail, hold });
		delivered.catch(() => {}); // who ends the transaction hears of it
		await Promise.race([this.#ask({ do: "held", hold }), delivered]);
		const release = async (commit: boolean) => {
			await this.#ask({ do: "release", hold, commit });
			return await delivered;
		};
		return { commit: () => release(true), abort: () => release(false) };
	}

	createFolder(mailbox: string, name: string, parent?: number): Promise<Committed> {
		return this.#change({ do: "createFolder", mailbox, name, parent }) as Promise<Committed>;
	}

	copy(mailbox: string, items: readonly number[], folder: number): Promise<Committed> {
		return this.#change({ do: "copy", mailbox, items, folder }) as Promise<Committed>;
	}

	move(mailbox: string, items: readonly number[], folder: number): Promise<Committed> {
		return this.#item(mailbox, op.moveItem, items, itemType.message, { folder });
	}

	moveConversation(mailbox: string, conversation: number, folder: number): Promise<Committed> {
		return this.#item(mailbox, op.moveItem, [conversation], itemType.conversation, { folder });
	}

	/** `\Unread`, `\Flagged`, …, set or taken away. */
	flag(
		mailbox: string,
		items: readonly number[],
		tag: string,
		tagged: boolean,
	): Promise<Committed> {
		return this.#item(mailbox, op.alterItemTag, items, itemType.message, { tag, tagged });
	}

	/** One operation on the folder: on whatever is in it when it is executed. */
	markFolderRead(mailbox: string, folder: number): Promise<Committed> {
		const fields = { tag: "\\Unread", tagged: false };
		return this.#item(mailbox, op.alterItemTag, [folder], itemType.folder, fields);
	}

	delete(mailbox: string, items: readonly number[]): Promise<Committed> {
		return this.#item(mailbox, op.deleteItem, items, itemType.message, {});
	}

	setImapUid(mailbox: string, item: number, uid: number): Promise<Committed> {
		const fields = { uids: [{ id: item, uid }] };
		const request = { do: "item", mailbox, opcode: op.setImapUid, fields } as const;
		return this.#change(request) as Promise<Committed>;
	}

	/** Forces a rollover; false where the log is empty. */
	rollover(): Promise<boolean> {
		return this.#ask({ do: "rollover" }) as Promise<boolean>;
	}

	/** The end of the redo log. */
	position(): Promise<{ sequence: number; offset: number }> {
		return this.#ask({ do: "position" }) as Promise<{ sequence: number; offset: number }>;
	}

	/**
	 * Arms a death of mailboxd by SIGKILL: `record:n` (after n pieces of a record), `change` (the change
	 * record is logged), `database` (committed there), `commit`, and `rollover:checkpoint`, `:closed`,
	 * `:temporary`, `:archived`, `:renamed`.
	 */
	async dieAt(point: CrashPoint): Promise<void> {
		await this.#ask({ do: "arm", point });
	}

	/** Drops the connection, as must be done when mailboxd was stopped. */
	disconnect(): void {
		const connection = this.#connection;
		this.#connection = undefined;
		connection?.then(
			(each) => each[Symbol.dispose](),
			() => {},
		);
	}

	#item(mailbox: string, opcode: number, items: readonly number[], type: number, more: object) {
		const fields = {
			single: -1,
			type,
			hasConstraint: false,
			ids: items.map((id) => ({ id })),
			...more,
		};
		return this.#change({ do: "item", mailbox, opcode, fields }) as Promise<Committed>;
	}

	async #change(request: MailboxRequest): Promise<unknown> {
		const answer = (await this.#ask(request)) as Committed | Committed[];
		const at = Date.now();
		for (const each of [answer].flat())
			if (each.aborted !== true) this.acknowledged.push({ ...each, at, host: this.#host });
		return answer;
	}

	async #connect(): Promise<LineClient> {
		const client = await LineClient.connect(this.#socket, "mailboxd");
		client.unref();
		return client;
	}

	async #ask(request: MailboxRequest): Promise<unknown> {
		if (!existsSync(this.#socket)) this.disconnect();
		this.#connection ??= this.#connect();
		const connection = this.#connection;
		try {
			return await (await connection).ask(request);
		} catch (error) {
			if ((error as Error).message === "mailboxd is gone" || "code" in (error as object))
				if (this.#connection === connection) this.#connection = undefined;
			throw error;
		}
	}
}
