package netapply

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Change is Apply for a change of the configuration: whole or not at all. When
// steps of it fail, what is ours in the kernel goes back to what it was before,
// and the report says so.
//
// What fails without having been tried, like an interface that the machine does
// not have, undoes nothing, nor does what is known to fail: those objects fail
// with the configuration from before, too, and an operator who mends one thing
// must not be kept from it by another. A step that fails is tried twice, as
// errors of an instant pass.
func (a *Applier) Change(ctx context.Context, want Desired, known []ObjectError) (Report, error) {
	return a.pass(want, func(r *Report) error {
		before, err := a.observe(ctx, want)
		if err != nil {
			return err
		}
		now, err := a.roundsFrom(ctx, want, before, r, false)
		if err != nil {
			return err
		}
		defer func() { a.drifts.end(want, *r) }()
		if broken(r.Failures, known) == nil {
			return nil
		}
		if now, err = a.roundsFrom(ctx, want, now, r, false); err != nil {
			return err
		}
		reasons := broken(r.Failures, known)
		if reasons == nil {
			return nil
		}
		return a.rollBack(ctx, former(before, want), before, now, reasons, r)
	})
}

// rollBack goes from one state back to another and reports what is missing.
func (a *Applier) rollBack(ctx context.Context, to Desired, before, now Observed, reasons []ObjectError, r *Report) error {
	if a.Log != nil {
		a.Log.Warn("a change failed and is rolled back", "error", errors.Join(asErrors(reasons)...))
	}
	r.RolledBack = true
	now, err := a.roundsFrom(ctx, to, now, r, false)
	r.Left, r.Failures = append(r.Failures, lost(before, now, to)...), reasons
	return err
}

// broken are the failures that are reason to roll back: steps that the kernel
// refused.
func broken(failures, known []ObjectError) []ObjectError {
	var list []ObjectError
	for _, f := range failures {
		before := func(k ObjectError) bool { return k.Object == f.Object }
		if errors.As(f.Err, new(*stepError)) && !slices.ContainsFunc(known, before) {
			list = append(list, f)
		}
	}
	return list
}

// A stepError says why a step that was carried out failed.
type stepError struct{ err error }

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// lost are addresses of somebody else that went with links of ours: the one
// thing that is changed by us and that plans do not bring back.
func lost(before, now Observed, to Desired) []ObjectError {
	stands := make(map[string]bool, len(to.Links))
	for _, l := range to.Links {
		stands[l.Name] = true
	}
	there := make(map[addressKey]bool, len(now.Addresses))
	for _, a := range now.Addresses {
		there[a.key()] = true
	}
	ours := make(map[string]bool, len(before.Links))
	for _, l := range before.Links {
		ours[l.Name] = l.Ours()
	}
	var list []ObjectError
	for _, a := range before.Addresses {
		if stands[a.Link] && !there[a.key()] && !before.oursAddress(a, ours[a.Link]) && !a.Prefix.Addr().IsLinkLocalUnicast() {
			list = append(list, ObjectError{
				addressObject(Address{Link: a.Link, Prefix: a.Prefix}),
				fmt.Errorf("it was not netquorum's and went when %s was made again; whoever added it must add it again", a.Link),
			})
		}
	}
	return list
}

func asErrors(list []ObjectError) []error {
	errs := make([]error, len(list))
	for i, e := range list {
		errs[i] = e
	}
	return errs
}
