"""Turn refusals of the database into sentences on the admin's forms, whether a form foresaw them or not.

Note [A form judges the whole row]
Django leaves fields that a form does not show out of its constraints. So PostgreSQL was the first to judge a constraint
that names a read-only field, and an everyday edit became a server error. Here a form judges all values of an existing
row as soon as one of them changes. It does not judge unchanged rows, because each constraint is a query and a page may
have fifty rows of which one is edited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast

import structlog
from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ERROR_FLAG, SEARCH_VAR
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import DataError, IntegrityError, models
from django.db.models import BaseConstraint, Field, ForeignKey
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline

from base.clock import EARLIEST, LATEST

if TYPE_CHECKING:
    AnyForm = forms.ModelForm[Any]
    AnyFormSet = BaseInlineFormSet[Any, Any, Any]
else:  # Django's forms are generic for type checkers only
    AnyForm = forms.ModelForm
    AnyFormSet = BaseInlineFormSet

log = structlog.get_logger(__name__)

Sentence: TypeAlias = tuple[str, "str | Promise"]  # the field that shows the sentence, and the sentence
GONE = _("A row of this list was deleted in the meantime. Load the page again, then repeat your change.")
NO_SUCH_DATE = _("Must be a date between 2000 and 2200.")


class WholeRowForm(AnyForm):
    """Explain with `sentences` which constraint a row violates. See Note [A form judges the whole row]."""

    sentences: ClassVar[Mapping[str, Sentence]] = {}

    def _post_clean(self) -> None:
        self.instance.validate_constraints = lambda exclude=None: (
            None
        )  # Django checks constraints in between; here they come last
        super()._post_clean()  # type: ignore[misc] # Django's own, untyped
        del self.instance.validate_constraints
        if self.instance._state.adding or self.has_changed():  # noqa: SLF001 Django's only sign of a new row
            self.validate_constraints()

    def validate_constraints(self) -> None:
        exclude: set[str] = self._get_validation_exclusions()  # type: ignore[attr-defined] # as above
        if not self.instance._state.adding:  # noqa: SLF001 Django's only sign of a new row
            exclude &= self.fields.keys() | self.errors.keys()
        for model, constraints in self.instance.get_constraints():
            for constraint in constraints:
                self._judge(model, constraint, exclude | self.errors.keys())

    def _judge(self, model: type[models.Model], constraint: BaseConstraint, exclude: set[str]) -> None:
        try:
            constraint.validate(model, self.instance, exclude=exclude)
        except ValidationError as error:
            field, sentence = self.sentences.get(constraint.name, ("", ""))
            self.add_error(field if field in self.fields else None, str(sentence) or error)


class PatientAutocomplete(AutocompleteSelect):
    """Show no choice if the sent value cannot be a key. Django would look it up, which is a server error."""

    def optgroups(self, name: str, value: Sequence[str], attrs: dict[str, Any] | None = None) -> list[Any]:
        key = self.field.target_field
        return cast(list[Any], super().optgroups(name, [one for one in value if _can_be(key, one)], attrs))


def _can_be(key: Field[Any, Any], value: str) -> bool:
    try:
        return key.to_python(value) is not None
    except ValidationError:
        return value == ""


class PatientLists:
    """Ignore impossible values in a list's address or action. Django would look them up, which is a server error."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if any(not _can_be_asked(name, value) for name, values in request.GET.lists() for value in values):
            # Django answers the same to a filter that it cannot read
            return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
        return cast("HttpResponse", super().changelist_view(request, extra_context))  # type: ignore[misc] # a mixin

    def get_ordering(self, request: HttpRequest) -> Any:
        """Sort the newest rows first by default, also in the suggestions of an autocomplete field."""
        desk = cast(Any, super())
        return desk.get_ordering(request) or cast(Any, self).opts.ordering or ["-pk"]

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        found = super().get_search_results(request, queryset, search_term.replace("\0", ""))  # type: ignore[misc]
        return cast("tuple[models.QuerySet[Any], bool]", found)

    def response_action(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> HttpResponse | None:
        key = cast(Any, self).opts.pk
        sent = request.POST.copy()
        sent.setlist(ACTION_CHECKBOX_NAME, [one for one in sent.getlist(ACTION_CHECKBOX_NAME) if _can_be(key, one)])
        request.POST = sent  # type: ignore[assignment] # as immutable as any from here on
        return cast("HttpResponse | None", super().response_action(request, queryset))  # type: ignore[misc] # a mixin


def _can_be_asked(name: str, value: str) -> bool:
    """Tell whether PostgreSQL accepts the text and pages can show the year."""
    if "\0" in value and name != SEARCH_VAR:  # the form of the search field cleans it
        return False
    if not name.endswith("__year") or not value.isdecimal():
        return True
    return len(value) == len(str(LATEST.year)) and EARLIEST.year <= int(value) < LATEST.year


class PatientFields:
    """Bound the fields of the admin's forms and of their inline forms."""

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        desk = cast(Any, self)
        if db_field.name in desk.get_autocomplete_fields(request):
            kwargs["widget"] = PatientAutocomplete(db_field, desk.admin_site, using=kwargs.get("using"))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc] # a mixin

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Bound the dates: a page cannot show the year 1 in the house's time zone."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)  # type: ignore[misc] # as above
        if field is not None and isinstance(db_field, models.DateTimeField):
            bounds = (MinValueValidator(EARLIEST, NO_SUCH_DATE), MaxValueValidator(LATEST, NO_SUCH_DATE))
            field.validators = [*field.validators, *bounds]
        return field


class Desk(PatientLists, PatientFields, ModelAdmin):
    """Show a page of the admin with a form."""

    form: type[forms.ModelForm[Any]] = WholeRowForm

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        shown = super().changeform_view
        return self._in_words(request, lambda: shown(request, object_id, form_url, extra_context))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        shown = super().changelist_view
        return self._in_words(request, lambda: shown(request, extra_context))

    def _in_words(self, request: HttpRequest, shown: Callable[[], HttpResponse]) -> HttpResponse:
        """Show a refusal that no form foresaw as a sentence, such as two people writing the same row at once."""
        try:
            return shown()
        except (IntegrityError, DataError) as error:
            if request.method != "POST":
                raise
            log.warning("admin.refused_by_the_database", path=request.path, error=str(error))
            self.message_user(request, self.sentence_of(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def sentence_of(self, error: IntegrityError | DataError) -> str:
        name = str(getattr(getattr(error.__cause__, "diag", None), "constraint_name", ""))
        sentences = cast(type[WholeRowForm], self.form).sentences
        if name in sentences:
            return str(sentences[name][1])
        if isinstance(error, DataError):
            return gettext("Nothing was saved: a value is too large or cannot be stored.")
        return gettext(
            "Nothing was saved: another person changed this in the meantime. Look at it again, then repeat your change."
        )


class Rows(AnyFormSet):
    """Report a deleted row on the whole list. Django reports it on the row's hidden key, which is not visible."""

    def full_clean(self) -> None:
        super().full_clean()
        key = cast(Any, self).model._meta.pk.name
        if self.is_bound and any(key in form.errors for form in self.forms):
            self.non_form_errors().append(ValidationError(GONE))


class InlineDesk(PatientFields, TabularInline):
    """Show rows with forms inside another row's page."""

    formset = Rows
    form: type[forms.ModelForm[Any]] = WholeRowForm
