from nerfcore.fields.base import Field as Field
from nerfcore.fields.base import field_named as field_named
