package intent_test
import ("testing";"math/rand/v2";"fmt";"example.io/mtls-injector/intent")
func TestDist(t *testing.T){ r:=rand.New(rand.NewPCG(1,1)); n:=map[string]int{}
for range 20000 { raw:=make([]byte,r.IntN(300)); for i:=range raw {raw[i]=byte(r.Uint32())}
c:=newCluster(raw); res:=intent.Resolve(c.defaults,c.namespace,c.pod,c.services); c.check(t,&res)
switch { case res.Intent!=nil: n["intent "+string(res.Intent.Role)]++; if len(res.Intent.Identity.DNSNames)>4 {n["many names"]++}; if len(res.Intent.Identity.PerPodDomains)>0 {n["perpod"]++}
case res.Skip!="": n[string(res.Skip)]++; default: n["errors"]++; if len(res.Errors)==1 {n[res.Errors[0].Field]++}}}
fmt.Println(n)}
