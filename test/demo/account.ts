import { styleText } from "node:util";

/** The running account that a person reads: what happens, and the two servers side by side. */
export class Account {
	readonly #begun = performance.now();

	chapter(title: string): void {
		process.stdout.write(`\n${styleText("bold", title)}\n`);
	}

	say(text: string): void {
		const seconds = ((performance.now() - this.#begun) / 1000).toFixed(1).padStart(5);
		process.stdout.write(`${styleText("dim", `${seconds} s`)}  ${text}\n`);
	}

	good(text: string): void {
		this.say(styleText("green", text));
	}

	bad(text: string): void {
		this.say(styleText("red", text));
	}

	/** One line about both servers. */
	stand(live: Stand, mirror: Stand & { lag: string; replayed: string }): void {
		this.say(
			[
				`live ${live.position.padEnd(10)} ${String(live.messages).padStart(4)} messages`,
				`mirror ${mirror.position.padEnd(10)} ${String(mirror.messages).padStart(4)} messages`,
				`replayed ${mirror.replayed.padEnd(10)}`,
				mirror.lag,
			].join("  |  "),
		);
	}
}

export type Stand = { readonly position: string; readonly messages: number };
