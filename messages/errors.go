package messages

import "errors"

var (
	// ErrFull means that a queue or the spool is at its limit and the context
	// ended before there was room. Nothing was sent.
	ErrFull = errors.New("the outbox is full")
	// ErrTooLarge means that a body or a result is larger than is allowed.
	ErrTooLarge = errors.New("too large")
	// ErrPending means that the caller's context ended before the completion
	// came. The message stays; its completion can be had from Completions.
	ErrPending = errors.New("the message is sent and not completed yet")
	// ErrClosed means that the node has been closed.
	ErrClosed = errors.New("messages: closed")
	// ErrServed means that a service already has a handler or receivers of
	// another form.
	ErrServed = errors.New("the service is served already")
	// ErrGone means that a delivery was taken back before it was acknowledged,
	// or acknowledged already.
	ErrGone = errors.New("the delivery is not held any more")
	// ErrForeign means that a directory is another filer's.
	ErrForeign = errors.New("the directory is another filer's")
	// ErrUnknown means that there is no such message.
	ErrUnknown = errors.New("no such message")
	// ErrDisk is wrapped by every error after the disk failed once: what a file
	// system says after a failed sync is not to be believed.
	ErrDisk = errors.New("the messages' disk failed")
	// ErrLater, wrapped by a handler's error, has the handler called again later
	// instead of completing the message.
	ErrLater = errors.New("try again later")
)
