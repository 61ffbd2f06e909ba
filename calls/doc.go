// Package calls carries HTTP requests and their answers over one connection, many
// at once.
//
// It is for callers that ask small things often. A connection of HTTP/1.1 carries
// one request at a time, so that many callers need many connections and each
// request costs several system calls and changes of goroutine. Here requests and
// answers are frames that share a connection: what is ready goes out in one write,
// and answers come in any order. Handlers and callers see ordinary net/http.
//
// An answer arrives whole, so streams and large bodies belong on HTTP itself.
//
// A frame is, with numbers in big-endian:
//
//	length   4 bytes, of what follows
//	kind     1 byte: 1 request, 2 answer, 3 cancel
//	call     4 bytes, chosen by the caller, which is in use until its answer
//	request  method, target, content type, accept, timeout in milliseconds 4 bytes
//	         (0 for none), then the body
//	answer   status 2 bytes, content type, then the body
//	cancel   nothing: the caller does not wait any more; an answer may still come
//
// where each of the words is a length of 2 bytes and so many bytes.
package calls
