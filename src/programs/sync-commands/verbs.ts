import type { Request, Verb } from "../../formats/protocol/request.ts";
import type { Context, Serve } from "./context.ts";

/** Each verb is loaded when it is asked for, so that each starts with no more than it needs. */
const verbs: { readonly [V in Verb]: () => Promise<{ serve: Serve<V> }> } = {
	test: () => import("./test.ts"),
	stream: () => import("./stream.ts"),
	stream_from: () => import("./stream-from.ts"),
	wait_redo: () => import("./wait-redo.ts"),
	wait_ldap: () => import("./wait-ldap.ts"),
	purge: () => import("./purge.ts"),
	moved: () => import("./moved.ts"),
	query_incremental: () => import("./query-incremental.ts"),
	rsync: () => import("./rsync.ts"),
	hello: () => import("./hello.ts"),
	settings: () => import("./settings.ts"),
	ldap_changes: () => import("./ldap-changes.ts"),
	ldap_snapshot: () => import("./ldap-snapshot.ts"),
};

export async function serveRequest(request: Request, context: Context): Promise<number> {
	const { serve } = await verbs[request.verb]();
	// The table above pairs each verb with what serves it; the compiler cannot follow that here.
	return await (serve as Serve<Verb>)(request as never, context);
}
