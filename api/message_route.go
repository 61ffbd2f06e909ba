package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/netquorum/netquorum/trace"
)

// defaultWait is how long a long poll lasts that names no time.
const defaultWait = 30 * time.Second

// maxList bounds what one answer lists.
const maxList = 1000

var (
	queryClient  = query{name: "client", kind: "string", text: "The name that the sender is known by, for ever; its completions are kept under it."}
	queryLimit   = query{name: "limit", kind: "integer", text: "At most so many; 1000 are the most."}
	queryPoll    = query{name: "wait", kind: "string", text: "How long to wait while there is nothing, like 30s (the default); 0s does not wait."}
	queryHold    = query{name: "hold", kind: "string", text: "How long the consumer has for the message, like 1m (the default of receive); extend makes it longer."}
	queryService = query{name: "service", kind: "string", text: "The service that handles the message."}
	queryTo      = query{name: "filer", kind: "string", text: "The filer on which the service is; or give vserver."}
	queryVServer = query{name: "vserver", kind: "string", text: "The virtual server on whose host the service is, wherever that is at the time."}
	queryTrace   = query{name: "trace", kind: "string", text: "The id that follows the message through filers; the header Netquorum-Trace says the same."}
)

// octets stands for a body of bytes in the route table.
type octets []byte

// messageRoutes are part of routes.
var messageRoutes = []route{
	{method: "POST", path: "/v1/messages", summary: "Send a message", body: octets{}, bodyTypes: []string{typeOctets}, reply: SentMessage{},
		detail: "The body is the message's, of any size. It is on this filer's disk when the answer comes, and will be delivered. The timeout is for a time without progress.",
		query: []query{queryClient, queryService, queryTo, queryVServer,
			{name: "key", kind: "string", text: "The client's own name for the message: sent again with the same key, it is still one message."},
			{name: "stream", kind: "string", text: "Messages of one client to one target in one stream are handled one after the other."},
			{name: "priority", kind: "string", enum: []string{string(PriorityControl), string(PriorityBulk)}, text: "control (the default), or bulk for what may take its time."},
			queryTrace, {name: "discard", kind: "boolean", text: "Keep no completion."}, queryTimeout},
		stream: true, handle: (*Server).postMessage},
	{method: "GET", path: "/v1/messages", summary: "List a client's messages that are not completed", reply: PendingList{},
		query: []query{queryClient, queryLimit}, handle: (*Server).getPending},
	{method: "GET", path: "/v1/messages/status", summary: "What this filer holds of messages", reply: MessageStatus{}, handle: (*Server).getMessageStatus},
	{method: "POST", path: "/v1/messages/resend", summary: "Ask again what became of a client's messages",
		detail: "Nothing needs it: the filers do the same whenever they have lost each other.", query: []query{queryClient}, handle: (*Server).postResend},
	{method: "GET", path: "/v1/messages/sent/{id...}", summary: "Wait for the completion of a message", reply: Completion{},
		detail: "Refused with the code timeout while the message is pending, and with not-found when it is unknown or its completion was acknowledged.",
		query:  []query{queryPoll}, stream: true, handle: (*Server).getCompletion},
	{method: "DELETE", path: "/v1/messages/sent/{id...}", summary: "Give a pending message up",
		detail: "Its completion has the outcome withdrawn; whether a handler saw it is not known.", handle: (*Server).deleteMessage},

	{method: "GET", path: "/v1/messages/completions", summary: "A client's completions, those it missed first", reply: CompletionList{},
		detail: "They are kept until they are acknowledged, or for as long as the daemon's limits say.",
		query:  []query{queryClient, {name: "after", kind: "integer", text: "Only those after this position; 0 (the default) is before all."}, queryLimit, queryPoll},
		stream: true, handle: (*Server).getCompletions},
	{method: "GET", path: "/v1/messages/completions/watch", summary: "A client's completions as they come", reply: CompletionEvent{}, replyTypes: []string{typeLines, typeEvents}, stream: true,
		query:  []query{queryClient, {name: "after", kind: "integer", text: "Begin after this position; 0 (the default) is before all."}},
		handle: (*Server).watchCompletions},
	{method: "POST", path: "/v1/messages/completions/acknowledge", summary: "Forget completions that were seen", body: Acknowledgement{}, handle: (*Server).postAcknowledge},

	{method: "POST", path: "/v1/messages/services/{service}/receive", summary: "Wait for the next message of a service", reply: MessageDelivery{},
		detail: "Answered with 204 when none came in time. The message is the consumer's until it completes, fails or releases it, or its time is over; then another gets it.",
		query:  []query{queryPoll, queryHold}, stream: true, handle: (*Server).postReceive},
	{method: "GET", path: "/v1/messages/services/{service}/watch", summary: "A service's messages as they come", reply: DeliveryEvent{}, replyTypes: []string{typeLines, typeEvents}, stream: true,
		detail: "One JSON event a line. The messages are the consumer's while the connection stands: when it ends, those that were not ended are given to others.",
		query:  []query{{name: "window", kind: "integer", text: "How many messages the consumer has at a time; 1 is the default, 256 are the most."}, queryHold},
		handle: (*Server).watchService},
	{method: "GET", path: "/v1/messages/deliveries/{delivery}/body", summary: "The body of a message that is held", reply: octets{}, replyTypes: []string{typeOctets}, stream: true, handle: (*Server).getBody},
	{method: "POST", path: "/v1/messages/deliveries/{delivery}/complete", summary: "End a message with an answer", body: octets{}, bodyTypes: []string{typeOctets},
		detail: "The body is the answer, of at most 64 KiB. It is on disk when this is answered.", handle: (*Server).postComplete},
	{method: "POST", path: "/v1/messages/deliveries/{delivery}/fail", summary: "End a message with a failure", body: octets{}, bodyTypes: []string{typeText},
		detail: "The body says what went wrong, in words. The message is not handled again.", handle: (*Server).postFail},
	{method: "POST", path: "/v1/messages/deliveries/{delivery}/release", summary: "Give a message back", handle: (*Server).postRelease},
	{method: "POST", path: "/v1/messages/deliveries/{delivery}/extend", summary: "Hold a message for longer", reply: Extension{}, query: []query{queryHold}, handle: (*Server).postExtend},

	{method: "GET", path: "/v1/messages/target", summary: "Whether somebody handles messages for a target", reply: TargetState{},
		query: []query{queryService, queryTo, queryVServer}, handle: (*Server).getTarget},
	{method: "GET", path: "/v1/messages/target/watch", summary: "Whether somebody handles messages for a target, as that changes", reply: TargetEvent{}, replyTypes: []string{typeLines, typeEvents}, stream: true,
		detail: "The first event is the state now. A filer that is lost, and one that is back, is an event.",
		query:  []query{queryService, queryTo, queryVServer}, handle: (*Server).watchTarget},
}

// messagesOf is the backend for messages, or why there is none.
func (s *Server) messagesOf() (MessagesBackend, error) {
	if s.messages == nil {
		return nil, Refuse(ErrUnsupported, "this daemon carries no messages", nil)
	}
	return s.messages, nil
}

func clientParam(r *http.Request) (string, error) {
	name := param(r, "client")
	return name, checkMessageName("client", name)
}

func targetParam(r *http.Request) (MessageTarget, error) {
	q := r.URL.Query()
	t := MessageTarget{Service: q.Get("service"), Filer: q.Get("filer"), VServer: q.Get("vserver")}
	return t, t.check()
}

// spanParam is a time span from the query, or what it is when nobody says.
func spanParam(r *http.Request, name string, unset, least, most time.Duration) (time.Duration, error) {
	text := param(r, name)
	if text == "" {
		return unset, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least || d > most {
		return 0, usage("%s=%s is no time span between %s and %s, like 30s", name, text, least, most)
	}
	return d, nil
}

// numberParam is a whole number from the query.
func numberParam(r *http.Request, name string, unset, most uint64) (uint64, error) {
	text := param(r, name)
	if text == "" {
		return unset, nil
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil || v > most {
		return 0, usage("%s=%s is no whole number up to %d", name, text, most)
	}
	return v, nil
}

func limitParam(r *http.Request) (int, error) {
	v, err := numberParam(r, "limit", maxList, maxList)
	return cmp.Or(int(v), maxList), err
}

// traceParam is the id that a request carries, in its query or its header.
func traceParam(r *http.Request) (trace.ID, error) {
	text := cmp.Or(param(r, "trace"), r.Header.Get(trace.Header))
	if text == "" {
		return trace.From(r.Context()), nil
	}
	id, err := trace.Parse(text)
	if err != nil {
		return 0, usage("trace: %v", err)
	}
	return id, nil
}

// poll is the context of a long poll. A wait of nothing still looks at what is
// there. It ends early when the server does.
func (s *Server) poll(r *http.Request) (context.Context, context.CancelFunc, error) {
	wait, err := spanParam(r, "wait", defaultWait, 0, 24*time.Hour)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() { stop(); cancel() }, nil
}

// over reports whether a long poll ended with nothing to say.
func over(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled))
}
