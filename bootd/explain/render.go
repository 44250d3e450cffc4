package explain

import (
	"fmt"
	"strings"

	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
)

// Texts are what Render can show of a host.
func Texts() []string {
	return []string{"script", "answers", "local", "error", "phone", "common", "bootstrap"}
}

// Render shows what a host would be served, with placeholders where tokens will be. Notes say what was assumed.
func Render(snap *site.Snapshot, set *render.Set, host, what string) (text []byte, notes []string, err error) {
	h, ok := snap.Host(host)
	if !ok {
		return nil, nil, fmt.Errorf("%q names no host of %s", host, snap.Inventory.File)
	}
	if h.Phone != nil {
		return phoneText(snap, set, h, what)
	}
	if what == "" {
		what = "script"
	}
	var name string
	switch {
	case what == "phone" || what == "common" || what == "bootstrap":
		return nil, nil, fmt.Errorf("%s is no phone", host)
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
	notes = assumed(snap, d)
	text, err = set.Render(name, d)
	if err != nil {
		return nil, notes, err
	}
	return text, notes, nil
}

// assumed says what stands for an address that is not there.
func assumed(snap *site.Snapshot, d render.Data) []string {
	if n, ok := snap.Network(d.Network); !ok || !n.Own.IsValid() {
		return []string{fmt.Sprintf("this machine has no address on %s's network: %s stands for it", d.Host, d.Server)}
	}
	return nil
}

// phoneText shows one of a phone's files.
func phoneText(snap *site.Snapshot, set *render.Set, h *site.Host, what string) (text []byte, notes []string, err error) {
	d := render.Preview(snap, h)
	notes = assumed(snap, d)
	switch what {
	case "", "phone":
		text, err = set.Phone(d, render.OwnText)
	case "common":
		text, err = set.Phone(d, render.CommonText)
	case "bootstrap":
		text, err = set.Render(render.PhoneBootstrap, d)
	default:
		return nil, nil, fmt.Errorf("%s is a phone: it has no %s, want one of phone, common, bootstrap", h.Name, what)
	}
	return text, notes, err
}
