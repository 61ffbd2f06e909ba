// Package agent is one filer's life from boot to shutdown, and what firmware
// embeds: agent.Run(ctx, agent.Config{...}).
//
// It joins the other packages and decides little itself: the store says what is
// configured, failover who hosts what, netapply makes the kernel match, and
// transport carries what filers tell each other.
package agent
