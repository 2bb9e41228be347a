=== CoreEtlJob/marketing/segments
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "marketing",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "marketing",
      "dcp/execution": "a1",
      "dcp/workload": "segments"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "jobs/segments.py,jobs/common.zip",
    "driverArgs": [
      "--day",
      "2026-01-31"
    ],
    "sparkConf": {
      "spark.archives": "s3://lake/models.zip#models,s3://lake/python.tar.gz#environment",
      "spark.dcp.python.packages": "[\"pandas==2.3.3\"]",
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest",
      "spark.pyspark.python": "./environment/bin/python"
    },
    "deploymentMode": "ClusterMode",
    "applicationTolerations": {
      "restartConfig": {
        "restartPolicy": "Never"
      },
      "applicationTimeoutConfig": {
        "driverStartTimeoutMillis": 900000,
        "forceTerminationGracePeriodMillis": 60000
      },
      "ttlAfterStopMillis": 86400000
    },
    "driverSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "marketing",
            "dcp/execution": "a1",
            "dcp/workload": "segments"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    },
    "executorSpec": {
      "podTemplateSpec": {
        "metadata": {
          "labels": {
            "dcp/attempt": "1",
            "dcp/domain": "marketing",
            "dcp/execution": "a1",
            "dcp/workload": "segments"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark"
            }
          ]
        }
      }
    }
  }
}
