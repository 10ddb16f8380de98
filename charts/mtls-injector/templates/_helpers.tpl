{{/* What the templates have in common. */}}

{{/* The chart's name, for the label app.kubernetes.io/name. */}}
{{- define "mtls-injector.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* How objects are called. With 50 characters <fullname>-smoke-test is a legal name of a
     namespace, and <fullname>-webhook-root a legal common name. */}}
{{- define "mtls-injector.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $default := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $default .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The labels by which the Deployment knows its pods; they can never change. */}}
{{- define "mtls-injector.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mtls-injector.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of every object. Those of our own cannot be replaced. */}}
{{- define "mtls-injector.labels" -}}
{{- $chart := printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $labels := dict "helm.sh/chart" $chart -}}
{{- $labels = merge $labels (include "mtls-injector.selectorLabels" . | fromYaml) -}}
{{- toYaml (merge $labels (include "mtls-injector.sharedLabels" . | fromYaml)) -}}
{{- end -}}

{{/* Those without the ones by which the Deployment knows its pods. */}}
{{- define "mtls-injector.sharedLabels" -}}
{{- $labels := dict "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_" | trunc 63) -}}
{{- toYaml (merge $labels (dict "app.kubernetes.io/managed-by" .Release.Service) (default dict .Values.commonLabels)) -}}
{{- end -}}

{{/* The labels of an object that has more of them: "root" and "more". */}}
{{- define "mtls-injector.labelsAnd" -}}
{{- toYaml (merge (include "mtls-injector.labels" .root | fromYaml) (default dict .more)) -}}
{{- end -}}

{{/* repository[:tag][@digest]; a digest needs no tag. */}}
{{- define "mtls-injector.image" -}}
{{- $image := .Values.image -}}
{{- $tag := default (ternary "" .Chart.AppVersion (ne $image.digest "")) $image.tag -}}
{{- $image.repository -}}
{{- with $tag }}:{{ . }}{{ end -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "mtls-injector.serviceAccountName" -}}
{{- default (ternary (include "mtls-injector.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The names that the API server calls the webhook by, as a JSON list. It uses the one that
     ends in .svc. */}}
{{- define "mtls-injector.servingNames" -}}
{{- $service := printf "%s.%s" (include "mtls-injector.fullname" .) .Release.Namespace -}}
{{- $domain := default "cluster.local" .Values.config.clusterDomain -}}
{{- list $service (printf "%s.svc" $service) (printf "%s.svc.%s" $service $domain) | toJson -}}
{{- end -}}

{{/* 90 % of the memory limit for GOMEMLIMIT, so that the collector works harder before the
     kernel kills; empty without a limit. */}}
{{- define "mtls-injector.goMemoryLimit" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $limit := dig "limits" "memory" "" (default dict .Values.resources) | toString -}}
{{- if $limit -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?(k|M|G|Ki|Mi|Gi)?$" $limit) -}}
{{- fail (printf "resources.limits.memory: %q is not a number of bytes such as 256Mi" $limit) -}}
{{- end -}}
{{- $number := regexFind "^[0-9.]+" $limit | float64 -}}
{{- $unit := get $units (regexFind "[A-Za-z]*$" $limit) -}}
{{- printf "%dMiB" (divf (mulf $number $unit 0.9) 1048576 | floor | int64) -}}
{{- end -}}
{{- end -}}

{{/* Environment variables: ours, but for those that the user sets. */}}
{{- define "mtls-injector.env" -}}
{{- $theirs := list -}}
{{- range .Values.extraEnv }}{{ $theirs = append $theirs .name }}{{ end -}}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- $memory := include "mtls-injector.goMemoryLimit" . -}}
{{- if and $memory (not (has "GOMEMLIMIT" $theirs)) }}
- name: GOMEMLIMIT
  value: {{ $memory }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
