package main

import (
	"context"
	"sync"

	"github.com/spf13/cobra"

	"github.com/netquorum/netquorum"
	"github.com/netquorum/netquorum/api"
)

// writeFlags are what every command that writes documents takes.
type writeFlags struct {
	dryRun     bool
	wait       string
	ifRevision uint64
	requestID  string
	rollout    api.RolloutOptions
	cmd        *cobra.Command
}

func addWriteFlags(cmd *cobra.Command) *writeFlags {
	w := &writeFlags{cmd: cmd}
	f := cmd.Flags()
	f.BoolVar(&w.dryRun, "dry-run", false, "show what would change and what each filer would do; change nothing")
	f.StringVar(&w.wait, "wait", string(api.WaitCommitted), "return when it is committed, cached (on every filer's boot disk) or applied (in every filer's kernel)")
	f.Uint64Var(&w.ifRevision, "if-revision", 0, "refuse unless the one document was last written at this revision (0: does not exist)")
	f.StringVar(&w.requestID, "request-id", "", "name of this request: one that was seen before is not done again but answered with the first result")
	cmd.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions([]string{"committed", "cached", "applied"}, cobra.ShellCompDirectiveNoFileComp))
	return w
}

// request makes the transaction; documents and keys must be one together when a
// revision is asked for, because that is one document's.
func (w *writeFlags) request(docs []netquorum.Document, keys []netquorum.Key) (api.ApplyRequest, error) {
	r := api.ApplyRequest{DryRun: w.dryRun, Wait: api.Wait(w.wait), RequestID: w.requestID, Changes: true, Rollout: w.rollout}
	switch r.Wait {
	case api.WaitCommitted, api.WaitCached, api.WaitApplied:
	default:
		return r, api.Refuse(api.ErrUsage, "--wait "+w.wait+" is none of committed, cached, applied", nil)
	}
	var ifRevision *netquorum.Revision
	if w.cmd.Flags().Changed("if-revision") {
		if n := len(docs) + len(keys); n != 1 {
			return r, api.Refuse(api.ErrUsage, "--if-revision is about one document, and there are "+count(n, "document"), nil)
		}
		ifRevision = (*netquorum.Revision)(&w.ifRevision)
	}
	for _, d := range docs {
		r.Puts = append(r.Puts, api.Put{Document: d, IfRevision: ifRevision})
	}
	for _, k := range keys {
		r.Deletes = append(r.Deletes, api.Delete{Kind: k.Kind, Name: k.Name, IfRevision: ifRevision})
	}
	return r, nil
}

func (t *tool) applyCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create or replace documents in one transaction",
		Long: `Create or replace documents in one transaction: all of them, or none if any rule
would be broken by the configuration as a whole.

Documents are replaced whole. Applying what is there already changes nothing.

A change that touches how filers reach each other, or takes links down, is rolled
out filer by filer; --wait applied waits for the end of it. See netquorum rollout.`,
		Example: `  netquorum apply -f cluster.yaml
  netquorum apply -f cluster.yaml -f vservers.yaml --wait applied
  netquorum apply -f filer2.yaml --dry-run
  netquorum apply -f bonds.yaml --confirm 2m --wait applied && netquorum confirm
  netquorum get filer filer2 -o yaml | sed s/9000/1500/ | netquorum apply -f - --if-revision 12`,
		Args: cobra.NoArgs,
	}
	addFileFlag(cmd, &files, "file with documents, - for standard input; may be repeated")
	cmd.MarkFlagRequired("file")
	flags := addWriteFlags(cmd)
	addRolloutFlags(cmd, &flags.rollout)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		docs, err := t.readDocuments(files)
		if err != nil {
			return err
		}
		req, err := flags.request(docs, nil)
		if err != nil {
			return err
		}
		return t.write(cmd, req)
	}
	return cmd
}

// write sends a transaction and shows what it did.
func (t *tool) write(cmd *cobra.Command, req api.ApplyRequest) error {
	var res api.ApplyResult
	if req.Wait == api.WaitApplied {
		t.bePatient(cmd) // it may begin a rollout
	}
	err := t.call(cmd, "waiting until it is "+string(req.Wait), func(ctx context.Context, c *api.Client) (err error) {
		var watching sync.WaitGroup
		done := make(chan struct{})
		if req.Wait == api.WaitApplied && !req.DryRun {
			watching.Go(func() { t.watchRollout(ctx, c, done) })
		}
		res, err = c.Apply(ctx, req)
		close(done)
		watching.Wait()
		return err
	})
	if err != nil {
		return err
	}
	return t.print(res, func() error {
		if req.DryRun {
			t.dryRun(res)
			return nil
		}
		for _, c := range res.Changes {
			t.printf("%s %s\n", c.Key(), c.Verb())
		}
		if res.Changed == 0 {
			t.printf("revision %d: nothing changed\n", res.Revision)
		} else {
			t.printf("revision %d: %s changed\n", res.Revision, count(res.Changed, "document"))
		}
		if res.Rollout != "" {
			t.printf("%s\n", rolloutNote(res, req))
		}
		return nil
	})
}
