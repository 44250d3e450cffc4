package explain

import (
	"fmt"
	"strings"

	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
)

// Texts are what Render can show of a host.
func Texts() []string { return []string{"script", "answers", "local", "error"} }

// Render shows what a host would be served, with placeholders where tokens will be. Notes say what was assumed.
func Render(snap *site.Snapshot, set *render.Set, host, what string) (text []byte, notes []string, err error) {
	h, ok := snap.Host(host)
	if !ok {
		return nil, nil, fmt.Errorf("%q names no host of %s", host, snap.Inventory.File)
	}
	var name string
	switch {
	case what == "local":
		name = render.LocalScript
	case what == "error":
		name = render.ErrorScript
	case what != "script" && what != "answers":
		return nil, nil, fmt.Errorf("%q cannot be shown: want one of %s", what, strings.Join(Texts(), ", "))
	case h.Profile == nil:
		return nil, nil, fmt.Errorf("%s has no profile, so there is nothing to install it with: set profile in defaults, its network or the host", host)
	case what == "answers":
		name = h.Profile.Answers
	default:
		name = h.Profile.Script
	}
	if name == "" {
		return nil, nil, fmt.Errorf("profile %s has no %s", h.Profile.Name, what)
	}
	d := render.Preview(snap, h)
	if n, ok := snap.Network(d.Network); !ok || !n.Own.IsValid() {
		notes = append(notes, fmt.Sprintf("this machine has no address on %s's network: %s stands for it", host, d.Server))
	}
	text, err = set.Render(name, d)
	if err != nil {
		return nil, notes, err
	}
	return text, notes, nil
}
