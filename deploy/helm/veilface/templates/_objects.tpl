{{/* Objects that every component has, from a component: a dict of "root" and "name". */}}

{{- define "veilface.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "veilface.metadata" . | nindent 2 }}
spec:
  # Headless: callers see every replica, and gRPC spreads calls over them. One address would pin each connection to a pod.
  clusterIP: None
  selector:
    {{- include "veilface.selectorLabels" . | nindent 4 }}
  ports:
    - name: grpc
      port: {{ (get .root.Values .name).port }}
      targetPort: grpc
    {{- if .root.Values.metrics.enabled }}
    - name: metrics
      port: {{ .root.Values.metrics.port }}
      targetPort: metrics
    {{- end }}
{{- end -}}

{{- define "veilface.serviceAccount" -}}
{{- $account := (get .root.Values .name).serviceAccount -}}
{{- if $account.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "veilface.serviceAccountName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "veilface.labels" . | nindent 4 }}
  {{- with $account.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{- define "veilface.podDisruptionBudget" -}}
{{- $budget := (get .root.Values .name).podDisruptionBudget -}}
{{- if $budget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "veilface.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ $budget.maxUnavailable }}
  # A pod that is not ready serves nobody, and must not hold up the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "veilface.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* A component with the "kind" of what is scaled. */}}
{{- define "veilface.autoscaler" -}}
{{- $autoscaling := (get .root.Values .name).autoscaling -}}
{{- if $autoscaling.enabled -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "veilface.metadata" . | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ .kind }}
    name: {{ include "veilface.componentName" . }}
  minReplicas: {{ $autoscaling.minReplicas }}
  maxReplicas: {{ $autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ $autoscaling.targetCPUUtilizationPercentage }}
{{- end -}}
{{- end -}}

{{- define "veilface.certificate" -}}
{{- $settings := .root.Values.certManager -}}
{{- if $settings.enabled -}}
{{- $name := include "veilface.componentName" . -}}
{{- $host := include "veilface.host" . -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  {{- include "veilface.metadata" . | nindent 2 }}
spec:
  secretName: {{ include "veilface.certificateSecret" . }}
  issuerRef:
    name: {{ $settings.issuerRef.name }}
    kind: {{ $settings.issuerRef.kind }}
    group: {{ $settings.issuerRef.group }}
  duration: {{ $settings.duration }}
  renewBefore: {{ $settings.renewBefore }}
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
  usages: [digital signature, server auth, client auth]
  # The identity that the other services allow, and nothing else: a certificate with two URIs is refused.
  uris:
    - spiffe://veilface/{{ .name }}
  dnsNames:
    - {{ $name }}
    - {{ $name }}.{{ .root.Release.Namespace }}
    - {{ $host }}
    - {{ $host }}.{{ .root.Values.clusterDomain }}
{{- end -}}
{{- end -}}
