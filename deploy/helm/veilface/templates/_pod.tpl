{{/* The pod of a component. What only one component has is in its own folder: "veilface.<name>.settings", ".files",
".env", ".credentialFiles", ".volumes" and ".mounts". */}}

{{- define "veilface.podTemplate" -}}
{{- $values := .root.Values -}}
{{- $service := get $values .name -}}
metadata:
  labels:
    {{- include "veilface.podLabels" . | nindent 4 }}
    {{- with $service.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Variables and files of a ConfigMap are read at the start: a pod whose settings have changed is made anew.
    checksum/settings: {{ include "veilface.environment" . | sha256sum }}
    checksum/files: {{ include "veilface.files" . | sha256sum }}
    {{- with $service.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "veilface.serviceAccountName" . }}
  automountServiceAccountToken: false
  # Otherwise a Service named veilface-... would become variables that look like settings.
  enableServiceLinks: false
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $service.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $service.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "veilface.terminationGracePeriodSeconds" . }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: {{ .name }}
      image: {{ include "veilface.image" . }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        privileged: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      envFrom:
        - configMapRef:
            name: {{ include "veilface.componentName" . }}-settings
      env:
        # Python sees the processors of the node, not the limit.
        - name: VEILFACE_CRYPTO_THREADS
          valueFrom:
            resourceFieldRef:
              containerName: {{ .name }}
              resource: limits.cpu
              divisor: "1"
        {{- with include (printf "veilface.%s.env" .name) . }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $service.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: grpc
          containerPort: {{ $service.port }}
        - name: health
          containerPort: {{ $values.healthPort }}
        {{- if $values.metrics.enabled }}
        - name: metrics
          containerPort: {{ $values.metrics.port }}
        {{- end }}
      # Alive is a process that answers, whatever else is missing: a database that is away is no reason to kill it. Ready
      # is one whose kernels are compiled, whose database answers and whose master key opens.
      startupProbe:
        grpc:
          port: {{ $values.healthPort }}
          service: liveness
        periodSeconds: {{ $service.startupProbe.periodSeconds }}
        failureThreshold: {{ $service.startupProbe.failureThreshold }}
        timeoutSeconds: 5
      livenessProbe:
        grpc:
          port: {{ $values.healthPort }}
          service: liveness
        periodSeconds: 10
        failureThreshold: 6
        timeoutSeconds: 5
      readinessProbe:
        grpc:
          port: {{ $values.healthPort }}
        periodSeconds: 5
        failureThreshold: 2
        timeoutSeconds: 3
      {{- if $values.preStopSeconds }}
      lifecycle:
        preStop:
          exec:
            command: [sleep, {{ $values.preStopSeconds | toString | quote }}]
      {{- end }}
      resources:
        {{- toYaml $service.resources | nindent 8 }}
      volumeMounts:
        - name: credentials
          mountPath: /etc/veilface/credentials
          readOnly: true
        {{- if include "veilface.files" . }}
        - name: files
          mountPath: /etc/veilface/files
          readOnly: true
        {{- end }}
        - name: cache
          mountPath: /var/cache/veilface
        - name: temporary
          mountPath: /tmp
        {{- with include (printf "veilface.%s.mounts" .name) . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with $service.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: credentials
      projected:
        # The group is the pod's own: fsGroup.
        defaultMode: 0440
        sources:
          - secret:
              name: {{ include "veilface.credentialsSecret" . }}
              items:
                {{- range concat (ternary (list) (list "tls.crt" "tls.key" "ca.crt") $values.certManager.enabled) (fromYamlArray (include (printf "veilface.%s.credentialFiles" .name) .)) }}
                - key: {{ . }}
                  path: {{ . }}
                {{- end }}
          {{- if $values.certManager.enabled }}
          - secret:
              name: {{ include "veilface.certificateSecret" . }}
              items:
                {{- range list "tls.crt" "tls.key" "ca.crt" }}
                - key: {{ . }}
                  path: {{ . }}
                {{- end }}
          {{- end }}
    {{- if include "veilface.files" . }}
    - name: files
      configMap:
        name: {{ include "veilface.componentName" . }}-files
    {{- end }}
    # Compiled kernels, and weights that are downloaded without a claim for them.
    - name: cache
      emptyDir:
        sizeLimit: 4Gi
    - name: temporary
      emptyDir:
        sizeLimit: 1Gi
    {{- with include (printf "veilface.%s.volumes" .name) . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $service.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $service.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $service.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $service.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $service.topologySpread }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ toYaml . | nindent 6 | trim }}
      labelSelector:
        matchLabels:
          {{- include "veilface.selectorLabels" $ | nindent 10 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* The pause before the stop signal, the time for running calls after it, and some to close what is open. */}}
{{- define "veilface.terminationGracePeriodSeconds" -}}
{{- add .root.Values.preStopSeconds (get .root.Values .name).drainTimeoutSeconds 10 -}}
{{- end -}}

{{- define "veilface.databaseEnv" -}}
{{- $database := (get .root.Values .name).database -}}
- name: VEILFACE_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "veilface.databaseSecret" . }}
      key: {{ $database.secretKey }}
{{- end -}}

{{- define "veilface.databaseMounts" -}}
{{- if (get .root.Values .name).database.tls.existingSecret }}
- name: database-tls
  mountPath: /etc/veilface/database
  readOnly: true
{{- end }}
{{- end -}}

{{- define "veilface.databaseVolumes" -}}
{{- with (get .root.Values .name).database.tls.existingSecret }}
- name: database-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}
