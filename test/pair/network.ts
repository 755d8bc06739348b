import { randomBytes } from "node:crypto";
import { createServer } from "node:net";

/** The first three numbers of addresses that nobody else has: a port that is free there stays so until sshd has it. */
export function ownNetwork(): string {
	const [x = 0, y = 0] = randomBytes(2);
	return `127.${1 + (x % 254)}.${y}`;
}

export function freePort(host: string): Promise<number> {
	return new Promise((resolve, reject) => {
		const server = createServer();
		server.once("error", reject);
		server.listen(0, host, () => {
			const address = server.address();
			server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0));
		});
	});
}
