"""The client's documents have the members of the replies that the services give, and it imports nothing of ours."""

import ast
import typing
from pathlib import Path

import pytest
from aimass import (
    extensions,
    granting,
    identity,
    insight,
    operating,
    people,
    pipelines,
    projects,
    providers,
    scheduling,
    searching,
    tuning,
    types,
)
from aimass import usage as sdk_usage
from pydantic import BaseModel

from services.gateway.routes import permissions, predict, users
from services.gateway.routes.logs import LogLine
from shared.grants import Condition
from shared.rpc import (
    accounts,
    auth,
    evaluator,
    factors,
    grants,
    inference,
    invitations,
    monitor,
    registry,
    sessions,
    tasks,
    trainer,
    usage,
)
from shared.rpc import oidc as rpc_oidc
from shared.rpc import pipelines as rpc_pipelines
from shared.rpc import projects as rpc_projects

SDK = Path(__file__).resolve().parents[2] / "sdk" / "aimass"
OURS = {"services", "shared", "library", "deploy"}
PAIRS: list[tuple[type, type[BaseModel]]] = [
    (types.Member, trainer.LibraryMember),
    (types.Accepted, trainer.TaskAccepted),
    (types.Task, tasks.TaskView),
    (tuning.Study, trainer.StudyView),
    (tuning.Trial, trainer.TrialView),
    (types.Failure, tasks.TaskFailure),
    (types.MetricPoint, tasks.MetricPoint),
    (types.Model, registry.ModelView),
    (types.Version, registry.VersionView),
    (types.Comparison, registry.Comparison),
    (types.Dataset, registry.DatasetView),
    (types.Garbage, registry.Garbage),
    (types.Evaluation, evaluator.EvaluationView),
    (types.Deployment, inference.DeploymentView),
    (types.NodeResources, inference.NodeResources),
    (types.Resources, inference.Resources),
    (types.Inference, inference.InferenceView),
    (types.Delivery, inference.DeliveryView),
    (types.Webhook, inference.WebhookView),
    (types.NewWebhook, inference.WebhookCreated),
    (searching.SearchIndex, inference.IndexView),
    (searching.FoundDocument, inference.FoundDocument),
    (types.Answers, predict.Prediction),
    (types.Prediction, monitor.PredictionView),
    (types.Event, monitor.TimelineEntry),
    (operating.DeadLetter, monitor.DeadLetter),
    (operating.DeadLetterContent, monitor.DeadLetterContent),
    (operating.AuditEntry, monitor.AuditEntry),
    (operating.AuditVerification, monitor.AuditVerification),
    (insight.Gpu, monitor.Gpu),
    (insight.TraceNode, monitor.TraceNode),
    (insight.Trace, monitor.Trace),
    (insight.HostMetrics, monitor.HostMetrics),
    (types.ApiKey, auth.ApiKeyView),
    (types.NewApiKey, auth.ApiKeyCreated),
    (types.User, auth.UserView),
    (types.NewUser, auth.UserWithPassword),
    (types.Session, auth.LoggedIn),
    (extensions.Extension, auth.ExtensionView),
    (extensions.NewExtension, auth.ExtensionRegistered),
    (extensions.Credentials, auth.ExtensionCredentials),
    (extensions.Lag, auth.Lag),
    (people.Me, users.Me),
    (identity.LastingSession, sessions.SessionView),
    (identity.Totp, factors.TotpView),
    (identity.TotpBegun, factors.TotpBegun),
    (identity.ServiceAccount, accounts.ServiceAccountView),
    (identity.NewServiceAccount, accounts.ServiceAccountWithSecret),
    (identity.Invitation, invitations.InvitationView),
    (providers.IdentityProvider, rpc_oidc.IdentityProviderView),
    (identity.NewInvitation, invitations.InvitationWithToken),
    (sdk_usage.UsageRow, usage.UsageRow),
    (sdk_usage.PriceList, usage.PriceList),
    (sdk_usage.Invoice, usage.Invoice),
    (sdk_usage.InvoiceLine, usage.InvoiceLine),
    (sdk_usage.Quota, usage.QuotaView),
    (granting.Permission, permissions.PermissionView),
    (granting.Source, permissions.Source),
    (granting.Verdict, permissions.Verdict),
    (granting.Role, grants.RoleView),
    (granting.Group, grants.GroupView),
    (granting.Grant, grants.GrantView),
    (granting.Condition, Condition),
    (scheduling.Schedule, trainer.ScheduleView),
    (pipelines.Pipeline, rpc_pipelines.PipelineView),
    (projects.Project, rpc_projects.ProjectView),
    (projects.NewProject, rpc_projects.ProjectMade),
    (projects.Share, rpc_projects.ShareView),
    (pipelines.Step, rpc_pipelines.StepView),
]


@pytest.mark.parametrize(("document", "reply"), PAIRS)
def test_documents_have_the_members_of_the_replies(document: type, reply: type[BaseModel]) -> None:
    assert set(typing.get_type_hints(document)) == set(reply.model_fields)


def test_log_lines_have_the_members_that_the_gateway_names() -> None:
    assert set(LogLine.model_fields) <= set(typing.get_type_hints(types.LogLine))


def test_it_imports_nothing_of_ours() -> None:
    for path in SDK.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & OURS, path
