from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("settings_app", "0001_settings")]

    operations = [
        migrations.AddField(
            model_name="cmssetting",
            name="secret",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
