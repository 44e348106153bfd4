from django.db import migrations


def make_rows(apps, schema_editor):
    apps.get_model("pools", "Fleet").objects.get_or_create(pk=1)
    apps.get_model("pools", "EventCursor").objects.get_or_create(name="fleet")


class Migration(migrations.Migration):
    dependencies = [("pools", "0001_initial")]
    operations = [migrations.RunPython(make_rows, migrations.RunPython.noop)]
