package check

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// manifests are the documents of all files, decoded into the type that they say they are.
type manifests struct {
	accounts    []core.ServiceAccount
	deployments []apps.Deployment
	services    []core.Service
	budgets     []policy.PodDisruptionBudget
	policies    []networking.NetworkPolicy
	jobs        []batch.Job
}

// take decodes a document as the API server does under strict validation: unknown fields, those in the wrong case and those that are
// there twice are errors.
func take[T any](text []byte, into *[]T) error {
	var v T
	document, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return err
	}
	wrong, err := json.UnmarshalStrict(document, &v)
	*into = append(*into, v)
	return errors.Join(append(wrong, err)...)
}

func (m *manifests) add(t *testing.T, name string, document []byte) error {
	t.Helper()
	var kind meta.TypeMeta
	require.NoError(t, yaml.Unmarshal(document, &kind), name)
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 ServiceAccount":
		return take(document, &m.accounts)
	case "apps/v1 Deployment":
		return take(document, &m.deployments)
	case "v1 Service":
		return take(document, &m.services)
	case "policy/v1 PodDisruptionBudget":
		return take(document, &m.budgets)
	case "networking.k8s.io/v1 NetworkPolicy":
		return take(document, &m.policies)
	case "batch/v1 Job":
		return take(document, &m.jobs)
	}
	t.Fatalf("%s: nobody knows a %s of %s", name, kind.Kind, kind.APIVersion)
	return nil
}

var between = regexp.MustCompile(`(?m)^---$`)

func read(t *testing.T) *manifests {
	t.Helper()
	files, err := filepath.Glob("../kubernetes/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 4)
	m := &manifests{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, document := range between.Split(string(text), -1) {
			require.NoError(t, m.add(t, name, []byte(document)), name)
		}
	}
	return m
}

func TestManifestsAreDecodedStrictly(t *testing.T) {
	m := read(t)
	require.Equal(t, []int{1, 1, 1, 1, 1, 3}, []int{
		len(m.accounts), len(m.deployments), len(m.services), len(m.budgets), len(m.policies), len(m.jobs),
	})
	text, err := os.ReadFile("../kubernetes/awa-counterd.yaml")
	require.NoError(t, err)
	for old, wrong := range map[string]string{
		"readinessProbe:": "readinessprobe:", "livenessProbe:": "livenesProbe:", "replicas: 2": "replicas: two", "preStop:": "prestop:", "drop: [ALL]": "drops: [ALL]",
	} {
		require.Contains(t, string(text), old)
		var err error
		for _, document := range between.Split(strings.Replace(string(text), old, wrong, 1), -1) {
			if err = (&manifests{}).add(t, old, []byte(document)); err != nil {
				break
			}
		}
		require.Error(t, err, "%q passes", wrong)
	}
}

// pods are the templates of all that runs.
func (m *manifests) pods() map[string]core.PodTemplateSpec {
	all := make(map[string]core.PodTemplateSpec)
	for _, d := range m.deployments {
		all[d.Name] = d.Spec.Template
	}
	for _, j := range m.jobs {
		all[j.Name] = j.Spec.Template
	}
	return all
}

// Least rights: no token, no root, no new privileges, nothing to write to, a bound of memory.
func TestPodsHaveLeastRights(t *testing.T) {
	m := read(t)
	for name, p := range m.pods() {
		require.False(t, *p.Spec.AutomountServiceAccountToken, name)
		require.False(t, *p.Spec.EnableServiceLinks, "%s: AWA_COUNTERD_PORT and its like", name)
		pod := p.Spec.SecurityContext
		require.True(t, *pod.RunAsNonRoot, name)
		require.EqualValues(t, 65534, *pod.RunAsUser, name)
		require.EqualValues(t, 65534, *pod.RunAsGroup, name)
		require.Equal(t, core.SeccompProfileTypeRuntimeDefault, pod.SeccompProfile.Type, name)
		require.Len(t, p.Spec.Containers, 1)
		c := p.Spec.Containers[0]
		require.False(t, *c.SecurityContext.AllowPrivilegeEscalation, name)
		require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, name)
		require.Equal(t, []core.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, name)
		require.EqualValues(t, 512<<20, c.Resources.Limits.Memory().Value(), name)
		require.False(t, c.Resources.Requests.Memory().IsZero(), name)
		require.Equal(t, core.TerminationMessageFallbackToLogsOnError, c.TerminationMessagePolicy, name)
		require.Empty(t, c.Command, "%s: the image has its entrypoint", name)
		require.Empty(t, p.Spec.Volumes, name)
		for _, e := range c.Env {
			if strings.Contains(e.Name, "URL") || strings.Contains(e.Name, "PASSWORD") {
				require.Empty(t, e.Value, "%s: a secret in clear", name)
				require.NotNil(t, e.ValueFrom.SecretKeyRef, name)
			}
		}
	}
	require.False(t, *m.accounts[0].AutomountServiceAccountToken)
}

// What is applied first needs nothing that comes later: setup.yaml precedes the file with the daemons and their account, and the Jobs
// work after that has been deleted, so they have no account but the one that every namespace has.
func TestJobsNeedNoneOfTheDaemonsFile(t *testing.T) {
	m := read(t)
	require.Equal(t, m.accounts[0].Name, m.deployments[0].Spec.Template.Spec.ServiceAccountName)
	for _, j := range m.jobs {
		require.Empty(t, j.Spec.Template.Spec.ServiceAccountName, j.Name)
	}
}

// The daemons: two, found by what selects them, probed where they listen, and given the time that a stop takes.
func TestDeployment(t *testing.T) {
	m := read(t)
	d := m.deployments[0]
	require.EqualValues(t, 2, *d.Spec.Replicas)
	require.Zero(t, d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue())
	pod := labels.Set(d.Spec.Template.Labels)
	for what, s := range map[string]*meta.LabelSelector{
		"deployment": d.Spec.Selector, "budget": m.budgets[0].Spec.Selector, "spread": d.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector,
		"policy": &m.policies[0].Spec.PodSelector, "service": {MatchLabels: m.services[0].Spec.Selector},
	} {
		selector, err := meta.LabelSelectorAsSelector(s)
		require.NoError(t, err)
		require.True(t, selector.Matches(pod), what)
		for _, j := range m.jobs {
			require.Equal(t, what == "policy", selector.Matches(labels.Set(j.Spec.Template.Labels)), "%s and job %s", what, j.Name)
		}
	}
	c := d.Spec.Template.Spec.Containers[0]
	require.Equal(t, []string{"run", "--no-setup", "--listen=0.0.0.0:9187"}, c.Args)
	require.EqualValues(t, 9187, c.Ports[0].ContainerPort)
	for path, probe := range map[string]*core.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		require.Equal(t, path, probe.HTTPGet.Path)
		require.Equal(t, c.Ports[0].Name, probe.HTTPGet.Port.String())
	}
	require.Equal(t, "/healthz", c.StartupProbe.HTTPGet.Path)
	require.GreaterOrEqual(t, *d.Spec.Template.Spec.TerminationGracePeriodSeconds, int64(20), "the hook and the stop take 10 s each at most")

	s := m.services[0].Spec
	require.Equal(t, core.ClusterIPNone, s.ClusterIP)
	require.True(t, s.PublishNotReadyAddresses)
	require.Equal(t, c.Ports[0].Name, s.Ports[0].TargetPort.String())
	require.EqualValues(t, 9187, m.policies[0].Spec.Ingress[0].Ports[0].Port.IntValue())
	require.Equal(t, 1, m.budgets[0].Spec.MaxUnavailable.IntValue())
}

// The hook of the pods is that of the systemd unit.
func TestPreStopIsThePostStopOfTheUnit(t *testing.T) {
	unit, err := os.ReadFile("../awa-counterd.service")
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^ExecStopPost=\S+ (.+)$`).FindStringSubmatch(string(unit))
	require.NotNil(t, line)
	hook := read(t).deployments[0].Spec.Template.Spec.Containers[0].Lifecycle.PreStop.Exec.Command
	require.Equal(t, append([]string{"/awa-counterd"}, strings.Fields(line[1])...), hook)
}

// The jobs run once, as the owner of awa's tables, with the image of the daemons.
func TestJobs(t *testing.T) {
	m := read(t)
	var names []string
	image := m.deployments[0].Spec.Template.Spec.Containers[0].Image
	for _, j := range m.jobs {
		names = append(names, j.Name)
		require.Zero(t, *j.Spec.BackoffLimit, j.Name)
		require.Positive(t, *j.Spec.ActiveDeadlineSeconds, j.Name)
		require.Equal(t, core.RestartPolicyNever, j.Spec.Template.Spec.RestartPolicy, j.Name)
		c := j.Spec.Template.Spec.Containers[0]
		require.Equal(t, image, c.Image, j.Name)
		require.Equal(t, "awa-counterd-owner", c.Env[0].ValueFrom.SecretKeyRef.Name, j.Name)
	}
	slices.Sort(names)
	require.Equal(t, []string{"awa-counterd-finish", "awa-counterd-reconcile", "awa-counterd-setup"}, names)
}
