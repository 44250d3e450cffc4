package reason

import (
	"encoding/json"
	"regexp"
	"testing"
)

// TestNames: a name is a metric label and a log field, so each reason has one of its own.
func TestNames(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]Reason{}
	for r := None; r < end; r++ {
		name := r.String()
		if other, dup := seen[name]; dup {
			t.Errorf("reasons %d and %d are both %q", other, r, name)
		}
		seen[name] = r
		if !kebab.MatchString(name) || name == "invalid" {
			t.Errorf("reason %d is named %q", r, name)
		}
		b, err := json.Marshal(r)
		if err != nil || string(b) != `"`+name+`"` {
			t.Errorf("reason %d is written as %s, %v", r, b, err)
		}
		var back Reason
		if err := json.Unmarshal(b, &back); err != nil || back != r {
			t.Errorf("%s reads back as %s, %v", b, back, err)
		}
	}
	if len(names) != int(end) {
		t.Errorf("%d names for %d reasons", len(names), end)
	}
}

func TestOutside(t *testing.T) {
	if got := end.String(); got != "invalid" {
		t.Errorf("got %s, want invalid", got)
	}
	r := Answered
	if err := r.UnmarshalText([]byte("no such reason")); err != nil || r != None {
		t.Errorf("got %s, %v, want none", r, err)
	}
}

func TestAll(t *testing.T) {
	all := All()
	if len(all) != int(end)-1 {
		t.Fatalf("%d reasons, want %d", len(all), end-1)
	}
	for i, r := range all {
		if r != Reason(i+1) {
			t.Errorf("place %d holds %s", i, r)
		}
	}
}

func TestOutcomeJSON(t *testing.T) {
	b, err := json.Marshal(Outcome{Reason: UnknownHost})
	if want := `{"reason":"unknown-host"}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
}
