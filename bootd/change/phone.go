package change

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"bootd.internal/bootd/site"
)

// phones lists how phones are told of their files and who may read them; what the files say is seen in the texts.
func (v *values) phones(p *site.Phones) {
	if p == nil {
		return
	}
	served := "http"
	if p.HTTPS {
		served = fmt.Sprintf("https, port %d, %s", p.Port, cmp.Or(p.Certificate, "bootd's own certificate"))
	}
	v.add("yealink.scheme", served)
	v.add("yealink.name", p.Name)
	v.add("yealink.client_ca", p.ClientCA)
	v.add("yealink.access", strings.TrimSuffix(string(p.Access)+" "+p.User, " "))
	v.add("yealink.plain_secrets", strconv.FormatBool(p.PlainSecrets))
	v.add("yealink.dhcp_options", strings.Trim(fmt.Sprint(p.Options), "[]"))
	if p.Enterprise != 0 {
		v.add("yealink.enterprise", strconv.Itoa(p.Enterprise))
	}
	v.add("yealink.unlisted", strconv.FormatBool(p.Unlisted))
	v.add("yealink.local", strconv.FormatBool(p.Local))
}
