package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/netquorum/netquorum"
)

// A route is one entry of the API: what serves it, and what the OpenAPI
// document says of it.
type route struct {
	method, path string
	summary      string
	detail       string
	query        []query // beside timeout, which every route but streams has
	// body and reply are values of the types that go over the wire; nil for
	// none.
	body, reply any
	alternative any      // comes instead of reply when a query parameter asks for it
	bodyTypes   []string // application/json when empty
	replyTypes  []string // application/json when empty
	// stream marks an answer without an end, to which no timeout applies.
	stream bool
	handle func(s *Server, w http.ResponseWriter, r *http.Request) error
}

// A query is one query parameter.
type query struct {
	name, kind, text string // kind is the JSON Schema type
	enum             []string
}

var (
	queryTimeout     = query{name: "timeout", kind: "string", text: "How long the request may take, like 30s (the default)."}
	queryConsistency = query{name: "consistency", kind: "string", enum: []string{"linearizable", "stale"},
		text: "linearizable (the default) sees every acknowledged write and needs a quorum; stale answers with what this filer has."}
	queryRequestID  = query{name: "requestID", kind: "string", text: "Makes repeating the request safe."}
	queryIfRevision = query{name: "ifRevision", kind: "integer", text: "Refuse unless the document was last written at this revision."}
	queryWait       = query{name: "wait", kind: "string", enum: []string{"committed", "cached", "applied"},
		text: "When the transaction counts as done."}
	queryDryRun  = query{name: "dryRun", kind: "boolean", text: "Tell what would change and what each filer would do; change nothing."}
	queryChanges = query{name: "changes", kind: "boolean", text: "Put the changed documents, with their diffs, into the answer."}
	queryDiff    = query{name: "diff", kind: "boolean", text: "Put the diff of each document into the answer."}
)

// documents stands for a stream of documents in the route table.
type documents []netquorum.Document

var documentTypes = []string{typeYAML, typeJSON, typeLines}

// routes is the whole API. The daemon's mux and the OpenAPI document are both
// made from it, so that neither can have what the other lacks.
var routes = slices.Concat([]route{
	{method: "GET", path: "/v1/version", summary: "What the daemon is", reply: Version{}, handle: (*Server).getVersion},
	{method: "GET", path: "/v1/status", summary: "How the cluster is", reply: Status{},
		detail: "Answers without a quorum too, with what this filer knows.", handle: (*Server).getStatus},

	{method: "GET", path: "/v1/statistics", summary: "What virtual servers sent and received", reply: Statistics{},
		detail: "Asked of all filers: what a server did on a filer stays counted there when it moves. Answers without a quorum too.",
		query:  []query{{name: "vserver", kind: "string", text: "Only this virtual server or service."}}, handle: (*Server).getStatistics},
	{method: "GET", path: "/v1/presence/{name}", summary: "What a hosted virtual server is in this filer's kernel", reply: Presence{},
		detail: "For programs on this filer that speak as the server. Refused with the code elsewhere when another filer hosts it.", handle: (*Server).getPresence},

	{method: "POST", path: "/v1/init", summary: "Form a cluster of this filer alone", body: InitRequest{}, reply: MemberResult{}, handle: (*Server).postInit},
	{method: "POST", path: "/v1/join", summary: "Make this filer a member of a cluster", body: JoinRequest{}, reply: MemberResult{}, handle: (*Server).postJoin},
	{method: "GET", path: "/v1/tokens", summary: "List the one-time tokens, without their secrets", reply: []Token{}, handle: (*Server).getTokens},
	{method: "POST", path: "/v1/tokens", summary: "Make a one-time token for a filer that is to join", body: TokenRequest{}, reply: Token{}, handle: (*Server).postToken},
	{method: "DELETE", path: "/v1/tokens/{id}", summary: "Revoke a token", handle: (*Server).deleteToken},

	{method: "POST", path: "/v1/apply", summary: "Put documents in one transaction", body: documents{}, bodyTypes: documentTypes, reply: ApplyResult{},
		detail: "The body is what `netquorum apply -f` takes: YAML documents separated by ---, or JSON documents one after another.",
		query:  []query{queryDryRun, queryWait, queryIfRevision, queryChanges, queryRequestID, queryConfirm, queryForce, queryStepTimeout}, handle: (*Server).postApply},
	{method: "POST", path: "/v1/transactions", summary: "Commit one transaction of puts and deletes with preconditions",
		body: ApplyRequest{}, reply: ApplyResult{}, handle: (*Server).postTransaction},
	{method: "GET", path: "/v1/documents", summary: "List documents", reply: DocumentList{},
		query: []query{{name: "kind", kind: "string", text: "Only documents of this kind; may be repeated. Without it, all that users write."},
			queryConsistency}, handle: (*Server).getDocuments},
	{method: "GET", path: "/v1/documents/{kind}", summary: "List the documents of one kind", reply: DocumentList{},
		query: []query{queryConsistency}, handle: (*Server).getKind},
	{method: "GET", path: "/v1/documents/{kind}/{name...}", summary: "Read one document", reply: netquorum.Document{}, alternative: EffectiveDocument{},
		query: []query{queryConsistency, {name: "effective", kind: "boolean",
			text: "Answer with what holds for the document, with what it inherits and from where."}}, handle: (*Server).getDocument},
	{method: "PUT", path: "/v1/documents/{kind}/{name...}", summary: "Create one document or replace it whole", body: netquorum.Document{}, reply: ApplyResult{},
		bodyTypes: []string{typeJSON, typeYAML},
		query: []query{queryIfRevision, {name: "mustNotExist", kind: "boolean", text: "Refuse when the document exists."},
			queryWait, queryRequestID}, handle: (*Server).putDocument},
	{method: "DELETE", path: "/v1/documents/{kind}/{name...}", summary: "Delete one document", reply: ApplyResult{},
		query: []query{queryIfRevision, queryWait, queryRequestID}, handle: (*Server).deleteDocument},

	{method: "GET", path: "/v1/rollout", summary: "The rollout that is open or was the last", reply: Rollout{}, handle: (*Server).getRollout},
	{method: "POST", path: "/v1/rollout", summary: "Confirm, revert or resume the open rollout", body: RolloutRequest{}, reply: Rollout{}, handle: (*Server).postRollout},

	{method: "GET", path: "/v1/dump", summary: "The whole configuration as text", reply: documents{}, replyTypes: []string{typeYAML, typeLines},
		detail: "Everything that users write, in a form that restore and apply read. Ask for application/jsonl in the Accept header to get one JSON document a line.",
		query:  []query{queryConsistency}, handle: (*Server).getDump},
	{method: "POST", path: "/v1/restore", summary: "Replace the whole configuration", body: documents{}, bodyTypes: documentTypes, reply: RestoreResult{},
		detail: "Documents that the body lacks are deleted. Commits whole or not at all.",
		query:  []query{queryRequestID}, handle: (*Server).postRestore},

	{method: "GET", path: "/v1/history", summary: "Past changes, in rising order of revision", reply: History{},
		query: []query{{name: "from", kind: "integer", text: "First revision."}, {name: "to", kind: "integer", text: "Last revision."},
			{name: "limit", kind: "integer", text: "At most so many; the newest ones when from is not given."}, queryDiff},
		handle: (*Server).getHistory},
	{method: "GET", path: "/v1/watch", summary: "Changes as they are committed", reply: WatchEvent{}, replyTypes: []string{typeLines, typeEvents}, stream: true,
		detail: "One JSON event a line, or server-sent events when the Accept header asks for text/event-stream.",
		query:  []query{{name: "from", kind: "integer", text: "Begin after this revision; with what comes next when not given."}, queryDiff}, handle: (*Server).getWatch},

	{method: "GET", path: "/v1/interfaces", summary: "The states of a filer's interfaces", reply: InterfaceReport{}, query: []query{queryFiler},
		detail: "What the filer's monitor says of each group of links and its members. Answers without a quorum and before the filer is in a cluster.", handle: (*Server).getInterfaces},
	{method: "GET", path: "/v1/interfaces/watch", summary: "Changes of a filer's interfaces", reply: InterfaceEvent{}, replyTypes: []string{typeLines, typeEvents}, stream: true,
		detail: "One JSON event a line, or server-sent events when the Accept header asks for text/event-stream. The first has the whole report.",
		query:  []query{queryFiler}, handle: (*Server).getInterfacesWatch},

	{method: "GET", path: "/v1/links", summary: "How a filer reaches the others", reply: LinkReport{}, query: []query{queryFiler},
		detail: "Each link with its paths, their states and what went over them. Answers without a quorum too.", handle: (*Server).getLinks},

	{method: "GET", path: "/v1/schema", summary: "JSON Schema of the documents", reply: schema{}, replyTypes: []string{typeSchema}, handle: (*Server).getSchema},
	{method: "GET", path: "/v1/openapi.json", summary: "This document", reply: schema{}, handle: (*Server).getOpenAPI},
}, securityRoutes, partnerRoutes, messageRoutes, traceRoutes)

// schema stands for an answer that is itself a schema.
type schema map[string]any

// parameters are all query parameters of the route.
func (rt route) parameters() []query {
	if rt.stream {
		return rt.query
	}
	return append(rt.query[:len(rt.query):len(rt.query)], queryTimeout)
}

// checkQuery refuses parameters that the route does not know: a misspelt
// ifRevision must not become a write without a precondition.
func (rt route) checkQuery(r *http.Request) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	known := make([]string, 0, 8)
	for _, q := range rt.parameters() {
		known = append(known, q.name)
	}
	for name := range r.URL.Query() {
		if !slices.Contains(known, name) {
			return usage("%s %s has no parameter %q; it has: %s", rt.method, rt.path, name, strings.Join(known, ", "))
		}
	}
	return nil
}
