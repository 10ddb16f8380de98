package demo

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// auditPolicy makes the API server record every pod that is created (server-side apply
// creates by a patch), with the webhook's audit annotations.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  verbs: [create, patch]
  resources: [{group: "", resources: [pods]}]
- level: None
`

// webhookAudit begins the keys of the webhook's audit annotations.
const webhookAudit = "pods.mtls-injector.example.io/"

// auditEvent is the part of audit.k8s.io/v1 Event that is needed.
type auditEvent struct {
	Annotations    map[string]string `json:"annotations"`
	ResponseObject struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	} `json:"responseObject"`
}

// readAudit returns the webhook's audit annotations, without prefix, by the pods' UIDs.
func readAudit(path string) (map[string]map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	found := map[string]map[string]string{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event auditEvent
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		annotations := map[string]string{}
		for key, value := range event.Annotations {
			if name, ours := strings.CutPrefix(key, webhookAudit); ours {
				annotations[name] = value
			}
		}
		found[event.ResponseObject.Metadata.UID] = annotations
	}
	return found, lines.Err()
}
