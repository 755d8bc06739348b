import { removeSnapshot, removeStale, takeSnapshot } from "../../loops/ldap-source/snapshot.ts";
import type { Serve } from "./context.ts";
import { ldapSource } from "./ldap-source.ts";
import { say } from "./output.ts";

/** Makes a consistent copy of the LDAP directory, ready to be pulled, and tells what is in it. */
export const serve: Serve<"ldap_snapshot"> = async ({ watch }, { config, input, signal }) => {
	// The mirror keeps its end open as long as it waits for the answer.
	const gone = new AbortController();
	const client = input();
	client.on("end", () => gone.abort(new Error("the client is gone")));
	client.on("error", (error) => gone.abort(error));
	client.resume();
	const either = AbortSignal.any([signal, gone.signal]);
	try {
		const source = await ldapSource(config, either, watch);
		const answer = await takeSnapshot(source);
		try {
			await say(`${JSON.stringify(answer)}\n`, either);
		} catch (error) {
			await removeSnapshot(source);
			throw error;
		}
		// Its watch may have ended before, with nothing to remove yet.
		await removeStale(source);
		return 0;
	} finally {
		client.destroy();
	}
};
