from nerfcore.fields.base import FIELDS as FIELDS
from nerfcore.fields.base import Field as Field
from nerfcore.fields.ngp import NGPField as NGPField
from nerfcore.fields.unbounded import UnboundedField as UnboundedField
