package injector

import (
	"strconv"

	"example.io/mtls-injector/intent"
)

// variable is an environment variable that a container gets.
type variable struct{ name, value string }

// MarshalJSON makes the variable as core/v1 has it.
func (v *variable) MarshalJSON() ([]byte, error) { return v.appendJSON(nil), nil }

func (v *variable) appendJSON(dst []byte) []byte {
	dst = appendQuoted(append(dst, `{"name":`...), v.name)
	dst = appendQuoted(append(dst, `,"value":`...), v.value)
	return append(dst, '}')
}

func (p *patch) facts() facts {
	at := &p.path
	return facts{
		role: string(p.in.Role), spiffeID: p.in.Identity.SPIFFEID,
		bundle:     p.join(at.bundle, "/", bundleFile),
		serverCert: p.join(at.server, "/", certificateFile), serverKey: p.join(at.server, "/", keyFile),
		clientCert: p.join(at.client, "/", certificateFile), clientKey: p.join(at.client, "/", keyFile),
	}
}

// wantedVariables evaluates the table.
func (p *patch) wantedVariables() list[variable, *variable] {
	if len(p.in.Env) == 0 {
		return nil
	}
	told := p.facts()
	wanted, rows := list[variable, *variable](p.room.variables[:0]), table()
	for i := range rows {
		if rows[i].applies(p.in) {
			wanted = append(wanted, variable{name: rows[i].Name, value: rows[i].value(&told)})
		}
	}
	return wanted
}

// variables adds the wanted variables to each served container. They go to the front,
// for a variable of the user's can refer only to those before it, as $(MTLS_CA_CERT).
func variables(p *patch) {
	wanted := p.wantedVariables()
	if len(wanted) == 0 {
		return
	}
	for i := range p.served {
		t := &p.served[i]
		if len(t.Env) == 0 {
			p.add(p.join(t.path, "/env"), wanted)
			continue
		}
		front := 0
		for j := range wanted {
			want := &wanted[j]
			have := lastNamed(t.Env, want.name)
			if have == nil {
				p.add(p.join(t.path, "/env/", strconv.Itoa(front)), want)
				front++
				continue
			}
			p.keep(t.Name, keptEnv, want.name)
			if have.Value != want.value {
				p.warn(t.quoted() + " keeps its own variable " + want.name + ", which would be " + strconv.Quote(want.value))
			}
		}
	}
}

// lastNamed returns the variable of that name which counts, for the kubelet lets the
// last one win.
func lastNamed(list []intent.EnvVar, name string) *intent.EnvVar {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}
