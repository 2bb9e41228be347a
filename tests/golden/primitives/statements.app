=== CoreEtlJob/sales/totals
{
  "metadata": {
    "name": "dcp-a1-1",
    "namespace": "sales",
    "labels": {
      "dcp/attempt": "1",
      "dcp/domain": "sales",
      "dcp/execution": "a1",
      "dcp/workload": "totals"
    }
  },
  "spec": {
    "runtimeVersions": {
      "sparkVersion": "4.1",
      "scalaVersion": "2.13",
      "jdkVersion": "17"
    },
    "pyFiles": "local:///opt/dcp/job/main.py",
    "driverArgs": [
      "/opt/dcp/job/job.json"
    ],
    "sparkConf": {
      "spark.driver.cores": "1",
      "spark.driver.extraJavaOptions": "-XX:+ExitOnOutOfMemoryError",
      "spark.driver.memory": "1g",
      "spark.executor.cores": "1",
      "spark.executor.instances": "1",
      "spark.executor.memory": "1g",
      "spark.kubernetes.container.image": "spark-platform:4.1-latest"
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
            "dcp/domain": "sales",
            "dcp/execution": "a1",
            "dcp/workload": "totals"
          }
        },
        "spec": {
          "containers": [
            {
              "name": "spark",
              "volumeMounts": [
                {
                  "mountPath": "/opt/dcp/job",
                  "name": "dcp-job",
                  "readOnly": true
                }
              ]
            }
          ],
          "volumes": [
            {
              "configMap": {
                "name": "dcp-a1-1-job"
              },
              "name": "dcp-job"
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
            "dcp/domain": "sales",
            "dcp/execution": "a1",
            "dcp/workload": "totals"
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
    "configMapSpecs": [
      {
        "name": "dcp-a1-1-job",
        "data": {
          "job.json": "{\"parameters\":{},\"results\":null,\"statements\":[\"INSERT OVERWRITE mart.totals SELECT day, sum(amount) AS total FROM lake.orders GROUP BY day\",\"INSERT INTO mart.runs SELECT 'größe;', current_date()\"]}"
        }
      }
    ]
  }
}
