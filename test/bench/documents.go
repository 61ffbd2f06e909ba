package main

import (
	"context"
	"fmt"

	"github.com/netquorum/netquorum/api"
)

// measureDocuments compares a one-document transaction among 10,000 documents
// with the same among 10, through the local API of three daemons.
func measureDocuments(ctx context.Context, o options) ([]row, error) {
	fs, err := startFilers(ctx, o, "documents")
	defer fs.stop()
	if err != nil {
		return nil, err
	}
	leader, err := fs.leader(ctx)
	if err != nil {
		return nil, err
	}
	put := func(_, n int) error {
		return write(ctx, leader, fmt.Sprintf("few/%d", n%6), n)
	}
	few, err := p50(o.span, put)
	if err != nil {
		return nil, err
	}
	list, err := leader.client.List(ctx, api.Linearizable)
	if err != nil {
		return nil, err
	}
	docs := list.Documents
	for i := range 10_000 - len(docs) {
		docs = append(docs, record(fmt.Sprintf("many/%d", i), 256))
	}
	if _, err := leader.client.Restore(ctx, docs); err != nil {
		return nil, err
	}
	if leader, err = fs.leader(ctx); err != nil {
		return nil, err
	}
	many, err := p50(o.span, put)
	if err != nil {
		return nil, err
	}
	return []row{ratioRow("one-document transaction among 10,000 documents, p50, against 10", us(many), us(few), float64(many)/float64(few), 1.5, true)}, nil
}
