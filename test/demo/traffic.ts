import { setTimeout as sleep } from "node:timers/promises";
import type { Host } from "../pair/host.ts";

/**
 * People at work on the live server: single mails and mails to several, copies, flags, moves, a
 * folder marked as read, some deletions.
 */
export class Traffic {
	readonly #host: Host;
	readonly #people: readonly string[];
	#running: Promise<void> | undefined;
	#stop = false;
	#turn = 0;

	constructor(host: Host, people: readonly string[]) {
		this.#host = host;
		this.#people = people;
	}

	/** @param perSecond operations, about */
	start(perSecond: number): void {
		this.#stop = false;
		this.#running = this.#work(1000 / perSecond);
	}

	/** Returns when the operation under way is answered, or has failed with the server. */
	async end(): Promise<void> {
		this.#stop = true;
		await this.#running;
	}

	async #work(pauseMs: number): Promise<void> {
		while (!this.#stop) {
			try {
				await this.#once(this.#turn++);
			} catch (error) {
				// The server was killed under our hands: what was not answered was not promised.
				if (this.#stop || this.#host.servicePid("mailboxd") === undefined) return;
				throw error;
			}
			await sleep(pauseMs);
		}
	}

	async #once(turn: number): Promise<void> {
		const { mailbox } = this.#host;
		const person = this.#people[turn % this.#people.length] ?? "";
		const size = 800 + ((turn * 2677) % 12_000);
		const delivered = await mailbox.deliver(
			turn % 6 === 5 ? { to: this.#people, size } : { to: [person], size },
		);
		const item = delivered.findLast((each) => each.item !== undefined);
		if (item?.item === undefined) return;
		const [box, id] = [person, item.item];
		if (turn % 6 === 5) return;
		switch (turn % 7) {
			case 1:
				await mailbox.flag(box, [id], "\\Flagged", true);
				break;
			case 2:
				await mailbox.copy(box, [id], sentFolder);
				break;
			case 3:
				await mailbox.move(box, [id], trashFolder);
				break;
			case 4:
				await mailbox.markFolderRead(box, inboxFolder);
				break;
			case 6:
				await mailbox.delete(box, [id]);
				break;
		}
	}
}

const inboxFolder = 2;
const trashFolder = 3;
const sentFolder = 5;
